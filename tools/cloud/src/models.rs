//! The model directory: every `NET.seam` with the `NET.onnx` beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seam_compiler::fp32::{Datatype as Element, Signature};
use seam_compiler::{Engine, fp32::Tail};
use seam_runtime::graph::Point;
use seam_runtime::model::Model;
use seam_tuner::profile::CloudProfile;
use tokio::sync::OnceCell;

use crate::Error;
use crate::failure::Failure;
use crate::protocol::{Datatype, Spec};

/// The one version of every model.
pub(crate) const VERSION: &str = "1";

/// A network that the host serves.
pub(crate) struct Net {
    /// The name inside of the `.seam` file.
    pub(crate) name: String,
    /// The edge part, for boards to download.
    pub(crate) model: Arc<Model>,
    /// The tails.
    pub(crate) engine: Engine,
    /// This host's own times, measured when a plan first needs them.
    pub(crate) profile: OnceCell<CloudProfile>,
}

/// The networks by name.
#[derive(Default)]
pub(crate) struct Models(BTreeMap<String, Arc<Net>>);

impl Models {
    /// Reads every `.seam` file of `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Models, Error> {
        let file = |cause| Error::File { path: directory.to_path_buf(), cause };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(file)? {
            let path = entry.map_err(file)?.path();
            if path.extension().is_some_and(|e| e == "seam") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut nets: BTreeMap<String, (PathBuf, Arc<Net>)> = BTreeMap::new();
        for path in paths {
            let model = Arc::new(Model::open(&path)?);
            let name = model.graph().name.clone();
            if let Some((first, _)) = nets.get(&name) {
                return Err(Error::SameName { name, first: first.clone(), second: path });
            }
            let onnx = path.with_extension("onnx");
            if !onnx.exists() {
                return Err(Error::NoOnnx(onnx));
            }
            let engine = Engine::open(&path)?;
            let net = Net { name: name.clone(), model, engine, profile: OnceCell::new() };
            nets.insert(name, (path, Arc::new(net)));
        }
        if nets.is_empty() {
            return Err(Error::NoModels(directory.to_path_buf()));
        }
        Ok(Models(nets.into_iter().map(|(name, (_, net))| (name, net)).collect()))
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Every network.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Net>> {
        self.0.values()
    }

    /// The network of that name.
    pub(crate) fn net(&self, name: &str) -> Result<&Arc<Net>, Failure> {
        self.0.get(name).ok_or_else(|| {
            let known = self.names().collect::<Vec<_>>().join(", ");
            Failure::missing(format!("no network {name:?} here; this host serves {known}"))
        })
    }

    /// The network and the point that `NET@POINT` names; `NET` alone is `NET@input`.
    pub(crate) fn tail(&self, name: &str) -> Result<(&Arc<Net>, Point), Failure> {
        let Some((net, point)) = name.split_once('@') else {
            return Ok((self.net(name)?, Point::Input));
        };
        let net = self.net(net)?;
        Ok((net, net.cut(point)?))
    }
}

impl Net {
    /// The point of that name.
    pub(crate) fn point(&self, name: &str) -> Result<Point, Failure> {
        let graph = self.model.graph();
        graph.point(name).ok_or_else(|| {
            let known: Vec<_> = graph.points().map(|p| graph.point_name(p)).collect();
            Failure::missing(format!(
                "{} has no point {name:?}; its points are {}",
                self.name,
                known.join(", ")
            ))
        })
    }

    /// The point of that name, if something is left to run behind it.
    fn cut(&self, name: &str) -> Result<Point, Failure> {
        match self.point(name)? {
            Point::Output => Err(Failure::missing(format!(
                "nothing of {} runs behind the point \"output\": the edge has the answer",
                self.name
            ))),
            point => Ok(point),
        }
    }

    /// The longest body of an inference request at `point`: raw tensors are far below it, and JSON
    /// data (three digits, a comma and a space a code) fits.
    pub(crate) fn body_limit(&self, point: Point) -> usize {
        let graph = self.model.graph();
        let boundary = match point {
            Point::Candidate(i) => graph.candidates[i].boundary,
            Point::Input | Point::Output => graph.input,
        };
        (64 << 10) + 8 * graph.tensor(boundary).shape.len()
    }

    /// The model's identity in hexadecimal.
    pub(crate) fn id(&self) -> String {
        self.model.id_hex()
    }
}

/// What a tail reads and what it answers, in the protocol's words.
pub(crate) fn specs(tail: &Tail) -> (Vec<Spec>, Vec<Spec>) {
    (tail.inputs().iter().map(spec).collect(), vec![spec(tail.output())])
}

fn spec(signature: &Signature) -> Spec {
    let datatype = match signature.datatype {
        Element::U8 => Datatype::Uint8,
        Element::F16 => Datatype::Fp16,
        Element::F32 => Datatype::Fp32,
    };
    Spec { name: signature.name.clone(), datatype, shape: signature.shape.clone() }
}
