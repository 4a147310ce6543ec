//! A collaborative inference: edge part → upload → tail → answer, and where the time went.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seam_runtime::boundary::{Frame, tail_name};
use seam_runtime::graph::{Element, Point};
use seam_runtime::preprocess::{Pixels, Tables, codes};
use seam_runtime::{Codec, Model, Options, Session};
use serde::{Serialize, Serializer};

use crate::{Client, Error};

/// A network cut at a point, ready for images. Buffers are made once.
pub struct Inference {
    model: Arc<Model>,
    point: Point,
    /// What runs here; nothing at the point `input`.
    edge: Option<Edge>,
    /// What runs there; nothing at the point `output`.
    cloud: Option<Cloud>,
}

struct Edge {
    session: Session,
    /// From a pixel to an input code, a table a channel.
    tables: Tables,
}

struct Cloud {
    client: Client,
    tail: String,
    frame: Frame,
}

/// The network's answer and what it took.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The network's output.
    pub values: Vec<f32>,
    /// Where the time went.
    pub timing: Timing,
    /// Bytes that crossed the uplink, the request's JSON included.
    pub uploaded: usize,
}

/// Where the time of an inference went.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Timing {
    /// Crop, resize, and from pixels to codes.
    #[serde(rename = "preprocess_ms", serialize_with = "ms")]
    pub preprocess: Duration,
    /// The edge part.
    #[serde(rename = "edge_ms", serialize_with = "ms")]
    pub edge: Duration,
    /// The boundary into the request.
    #[serde(rename = "encode_ms", serialize_with = "ms")]
    pub encode: Duration,
    /// There and back, the host's own time taken off where it says what that was.
    #[serde(rename = "upload_ms", serialize_with = "ms")]
    pub upload: Duration,
    /// The tail, as the host says.
    #[serde(rename = "cloud_ms", serialize_with = "ms")]
    pub cloud: Duration,
    /// Everything.
    #[serde(rename = "total_ms", serialize_with = "ms")]
    pub total: Duration,
}

fn ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1e3)
}

impl Inference {
    /// `model` cut at `point`. `options.point` is set here; `cloud` may be absent at `output` only.
    ///
    /// # Errors
    /// The file ends before the point, the session cannot be made, or a cloud host is needed.
    pub fn new(
        model: Arc<Model>,
        point: Point,
        options: Options,
        cloud: Option<&Client>,
    ) -> Result<Inference, Error> {
        let graph = model.graph();
        let cloud = match (point, cloud) {
            (Point::Output, _) => None,
            (_, None) => return Err(Error::NoCloud(graph.point_name(point).into())),
            (_, Some(client)) => Some(Cloud {
                client: client.clone(),
                tail: tail_name(graph, point),
                frame: Frame::new(graph, point, None),
            }),
        };
        let edge = match (point, graph.tensor(graph.input).element) {
            (Point::Input, _) => None,
            (_, Element::U8 { scale, zero_point }) => Some(Edge {
                tables: graph.preprocess.tables(scale, zero_point),
                session: Session::new(model.clone(), Options { point: Some(point), ..options })?,
            }),
            (_, Element::F32) => unreachable!("the reader refuses a model whose input is no u8"),
        };
        Ok(Inference { model, point, edge, cloud })
    }

    /// From now on the boundary crosses by `codec`, where it has one (codes and pixels do) and the
    /// host knows it; raw otherwise. [`Inference::codec`] says which it is.
    ///
    /// # Errors
    /// The host cannot be asked what it knows.
    pub fn with_codec(mut self, codec: Codec) -> Result<Inference, Error> {
        if let Some(cloud) = &mut self.cloud
            && cloud.client.codecs()?.contains(&codec)
        {
            cloud.frame = Frame::coded(self.model.graph(), self.point, None, codec);
        }
        Ok(self)
    }

    /// The codec by which the boundary crosses; a tensor that would not shrink crosses raw even so.
    pub fn codec(&self) -> Option<Codec> {
        self.cloud.as_ref().and_then(|cloud| cloud.frame.codec())
    }

    /// Where the network is cut.
    pub fn point(&self) -> Point {
        self.point
    }

    /// The session of the edge part.
    pub fn session(&self) -> Option<&Session> {
        self.edge.as_ref().map(|edge| &edge.session)
    }

    /// The raw tensor that crossed the uplink last; none at `output`.
    pub fn boundary(&self) -> Option<&[u8]> {
        self.cloud.as_ref().map(|cloud| cloud.frame.tensor())
    }

    /// Runs the network on an image.
    ///
    /// # Errors
    /// The image does not fit, or the cloud host does not do its part.
    pub fn run(&mut self, image: &Pixels) -> Result<Answer, Error> {
        let start = Instant::now();
        let graph = self.model.graph();
        let pixels = graph.preprocess.pixels(image, graph.tensor(graph.input).shape)?;
        let mut answer = self.run_pixels(&pixels)?;
        answer.timing.total = start.elapsed();
        answer.timing.preprocess = answer.timing.total
            - (answer.timing.edge
                + answer.timing.encode
                + answer.timing.upload
                + answer.timing.cloud);
        Ok(answer)
    }

    /// Runs the network on pixels that are cropped and resized already (HWC, in the network's
    /// channel order).
    ///
    /// # Errors
    /// The cloud host does not do its part.
    pub fn run_pixels(&mut self, pixels: &[u8]) -> Result<Answer, Error> {
        let mut timing = Timing::default();
        let start = Instant::now();
        if let Some(edge) = &mut self.edge {
            codes(&edge.tables, pixels, edge.session.input());
            timing.preprocess = start.elapsed();
            edge.session.run();
            timing.edge = start.elapsed() - timing.preprocess;
        }
        let encode = Instant::now();
        let (values, uploaded) = match (&mut self.cloud, &self.edge) {
            (Some(cloud), edge) => {
                let body = match edge {
                    Some(edge) => cloud.frame.encode(&edge.session),
                    None => cloud.frame.encode_pixels(pixels),
                };
                timing.encode = encode.elapsed();
                let bytes = body.len();
                let upload = Instant::now();
                let reply = cloud.client.infer(
                    &cloud.tail,
                    Some(&self.model.id_hex()),
                    cloud.frame.header_len(),
                    cloud.frame.body(),
                )?;
                let there_and_back = upload.elapsed();
                timing.cloud = reply.cloud.unwrap_or_default().min(there_and_back);
                timing.upload = there_and_back - timing.cloud;
                (reply.values, bytes)
            }
            (None, Some(edge)) => {
                let graph = self.model.graph();
                let mut values = vec![0.0; graph.tensor(graph.boundary(self.point)).shape.len()];
                edge.session.output_f32(&mut values);
                (values, 0)
            }
            (None, None) => unreachable!("only `output` has no cloud, only `input` no edge"),
        };
        timing.total = start.elapsed();
        Ok(Answer { values, timing, uploaded })
    }
}

/// The `k` largest values with their indices, largest first; of equal ones the first.
pub fn top(values: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut ranked: Vec<_> = values.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(k);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_ties_keep_their_order() {
        let values = [1.0, 3.0, f32::NEG_INFINITY, 3.0, 2.0];
        assert_eq!(top(&values, 3), [(1, 3.0), (3, 3.0), (4, 2.0)]);
        assert_eq!(top(&values, 9).len(), 5);
    }
}
