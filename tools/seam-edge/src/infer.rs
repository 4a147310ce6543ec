//! A collaborative inference: edge part → upload → tail → answer, and where the time went.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seam_runtime::boundary::{Frame, tail_name};
use seam_runtime::graph::{Element, Point};
use seam_runtime::preprocess::{Pixels, Tables, codes};
use seam_runtime::{Codec, Model, Options, Session};
use serde::{Serialize, Serializer};

use crate::{Client, Error};

/// A network cut at one of several points, ready for images. Session and buffers are made once:
/// another point costs nothing.
pub struct Inference {
    model: Arc<Model>,
    /// The model's identity in hexadecimal.
    id: String,
    point: Point,
    /// What runs here; nothing where `input` is the only point.
    edge: Option<Edge>,
    /// What crosses, at every point but `output`.
    crossings: Vec<Crossing>,
}

struct Edge {
    session: Session,
    /// From a pixel to an input code, a table a channel.
    tables: Tables,
}

struct Crossing {
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
    /// The load that the request met at the host, where it says.
    pub load: Option<f64>,
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
    /// `model` ready to be cut at each of `points`, and cut at the first of them. `options.point`
    /// is set here; `cloud` may be absent where `output` is the only point.
    ///
    /// # Errors
    /// The file ends before a point, the session cannot be made, or a cloud host is needed.
    ///
    /// # Panics
    /// There is no point.
    pub fn new(
        model: Arc<Model>,
        points: &[Point],
        options: Options,
        cloud: Option<&Client>,
    ) -> Result<Inference, Error> {
        let graph = model.graph();
        let crossing = |&point: &Point| match cloud {
            None => Err(Error::NoCloud(graph.point_name(point).into())),
            Some(client) => Ok(Crossing {
                client: client.clone(),
                tail: tail_name(graph, point),
                frame: Frame::new(graph, point, None),
            }),
        };
        let crossings = points.iter().filter(|&&point| point != Point::Output).map(crossing);
        let crossings = crossings.collect::<Result<_, _>>()?;
        let deepest = points.iter().copied().max().expect("a point to cut at");
        let edge = match (deepest, graph.tensor(graph.input).element) {
            (Point::Input, _) => None,
            (_, Element::U8 { scale, zero_point }) => Some(Edge {
                tables: graph.preprocess.tables(scale, zero_point),
                session: Session::new(model.clone(), Options { point: Some(deepest), ..options })?,
            }),
            (_, Element::F32) => unreachable!("the reader refuses a model whose input is no u8"),
        };
        Ok(Inference { id: model.id_hex(), model, point: points[0], edge, crossings })
    }

    /// The network.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The codec by which the boundary of this point crosses; a tensor that would not shrink
    /// crosses raw even so.
    pub fn codec(&self) -> Option<Codec> {
        let here = self.crossings.iter().find(|crossing| crossing.frame.point() == self.point);
        here.and_then(|crossing| crossing.frame.codec())
    }

    /// From now on the boundary of this point crosses by `codec`, where it has one (codes and
    /// pixels do) and the host knows it; raw otherwise. [`Inference::codec`] says which it is.
    ///
    /// # Errors
    /// The host cannot be asked what it knows.
    pub fn cross_by(&mut self, codec: Option<Codec>) -> Result<(), Error> {
        let (graph, point) = (self.model.graph(), self.point);
        let here = self.crossings.iter_mut().find(|crossing| crossing.frame.point() == point);
        if let Some(crossing) = here {
            crossing.frame = match codec {
                Some(codec) if crossing.client.codecs()?.contains(&codec) => {
                    Frame::coded(graph, point, None, codec)
                }
                _ => Frame::new(graph, point, None),
            };
        }
        Ok(())
    }

    /// Where the network is cut.
    pub fn point(&self) -> Point {
        self.point
    }

    /// Cuts at `point` from now on.
    ///
    /// # Panics
    /// `point` is none of those that this was made for.
    pub fn cut_at(&mut self, point: Point) {
        let known = match point {
            Point::Output => self.session().is_some_and(|session| session.point() == point),
            _ => self.crossings.iter().any(|crossing| crossing.frame.point() == point),
        };
        assert!(known, "{point:?} is a point that this inference was made for");
        self.point = point;
    }

    /// The session of the edge part, as deep as the deepest point.
    pub fn session(&self) -> Option<&Session> {
        self.edge.as_ref().map(|edge| &edge.session)
    }

    /// The raw tensor that crossed the uplink last at this point; none at `output`.
    pub fn boundary(&self) -> Option<&[u8]> {
        let here = self.crossings.iter().find(|crossing| crossing.frame.point() == self.point);
        here.map(|crossing| crossing.frame.tensor())
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
        let edge = self.edge.as_mut().filter(|_| self.point != Point::Input);
        let edge = edge.map(|edge| {
            codes(&edge.tables, pixels, edge.session.input());
            timing.preprocess = start.elapsed();
            edge.session.run_to(self.point);
            timing.edge = start.elapsed() - timing.preprocess;
            &edge.session
        });
        let here = |crossing: &&mut Crossing| crossing.frame.point() == self.point;
        let (values, uploaded, load) = match (self.crossings.iter_mut().find(here), edge) {
            (Some(crossing), session) => {
                let encode = Instant::now();
                match session {
                    Some(session) => crossing.frame.encode(session),
                    None => crossing.frame.encode_pixels(pixels),
                };
                timing.encode = encode.elapsed();
                let (frame, upload) = (&crossing.frame, Instant::now());
                let reply = crossing.client.infer(
                    &crossing.tail,
                    Some(&self.id),
                    frame.header_len(),
                    frame.body(),
                )?;
                let there_and_back = upload.elapsed();
                timing.cloud = reply.cloud.unwrap_or_default().min(there_and_back);
                timing.upload = there_and_back - timing.cloud;
                (reply.values, frame.body().len(), reply.load)
            }
            (None, Some(session)) => {
                let graph = self.model.graph();
                let answer = graph.boundary(self.point);
                let mut values = vec![0.0; graph.tensor(answer).shape.len()];
                session.dequantize(answer, &mut values);
                (values, 0, None)
            }
            (None, None) => {
                unreachable!("only `output` crosses nothing, only `input` runs nothing")
            }
        };
        timing.total = start.elapsed();
        Ok(Answer { values, timing, uploaded, load })
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
