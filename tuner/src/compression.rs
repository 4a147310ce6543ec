//! Uplink compression: what the codecs make of a board's own activations, and which of them a plan
//! may use.
//!
//! How far a tensor shrinks depends on what is in it: a profile without images has no codecs, and a
//! plan from it sends every boundary raw.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use seam_runtime::Codec;
use seam_runtime::boundary::{Datatype, Frame, describe};
use seam_runtime::graph::{Element, Graph, Point};
use seam_runtime::preprocess::codes;
use seam_runtime::session::Session;

use crate::Error;
use crate::prediction::MeasuredPoint;
use crate::profile::{CodecEncoding, Profile, Times};

/// Encodings timed of every image, at every point, by every codec.
const ENCODINGS: usize = 3;

/// Which codecs a plan may use beside none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodecChoice {
    /// Every one that was measured.
    #[default]
    Auto,
    /// None: boundaries cross raw.
    None,
    /// This one, where it was measured.
    Only(Codec),
}

impl CodecChoice {
    /// `codec` may be used.
    pub fn admits(self, codec: Codec) -> bool {
        match self {
            CodecChoice::Auto => true,
            CodecChoice::None => false,
            CodecChoice::Only(one) => one == codec,
        }
    }

    /// The one codec that was named, if one was.
    pub fn only(self) -> Option<Codec> {
        match self {
            CodecChoice::Only(codec) => Some(codec),
            CodecChoice::Auto | CodecChoice::None => None,
        }
    }

    /// `point` without the codecs that may not be used.
    pub fn restrict(self, mut point: MeasuredPoint) -> MeasuredPoint {
        point.codecs.retain(|measured| self.admits(measured.codec));
        point
    }
}

impl fmt::Display for CodecChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecChoice::Auto => f.write_str("auto"),
            CodecChoice::None => f.write_str("none"),
            CodecChoice::Only(codec) => codec.fmt(f),
        }
    }
}

impl FromStr for CodecChoice {
    type Err = Error;

    fn from_str(word: &str) -> Result<CodecChoice, Error> {
        match word {
            "auto" => Ok(CodecChoice::Auto),
            "none" => Ok(CodecChoice::None),
            name => name.parse().map(CodecChoice::Only).map_err(|_| Error::Codec(word.into())),
        }
    }
}

/// Adds to `profile`, that of `session`, what every codec makes of the boundaries of `images`:
/// pixels as [`seam_runtime::Preprocess::pixels`] makes them. `progress` is told the part done.
pub fn measure(
    session: &mut Session,
    images: &[Vec<u8>],
    profile: &mut Profile,
    mut progress: impl FnMut(f64),
) {
    if images.is_empty() {
        return;
    }
    let model = session.model().clone();
    let graph = model.graph();
    let points: Vec<Point> = graph
        .points()
        .take_while(|&point| point <= session.point())
        .filter(|&point| point != Point::Output)
        .filter(|&point| describe(graph, point).datatype == Datatype::Uint8)
        .collect();
    for (i, &point) in points.iter().enumerate() {
        let name = graph.point_name(point);
        let row = profile.points.iter_mut().find(|row| row.name == name);
        if let Some(row) = row {
            row.codecs = at_point(session, graph, point, images);
        }
        progress((i + 1) as f64 / points.len() as f64);
    }
}

fn at_point(
    session: &mut Session,
    graph: &Graph,
    point: Point,
    images: &[Vec<u8>],
) -> Vec<CodecEncoding> {
    let Element::U8 { scale, zero_point } = graph.tensor(graph.input).element else {
        unreachable!("the reader refuses a model whose input is no u8")
    };
    let tables = graph.preprocess.tables(scale, zero_point);
    let frames = Codec::ALL.map(|codec| Frame::coded(graph, point, None, codec));
    let mut measured = frames.map(|frame| (frame, Vec::new(), Vec::new()));
    for pixels in images {
        codes(&tables, pixels, session.input());
        session.run_to(point);
        for (frame, bytes, ns) in &mut measured {
            for _ in 0..ENCODINGS {
                let start = Instant::now();
                let body = match point {
                    Point::Input => frame.encode_pixels(pixels),
                    _ => frame.encode(session),
                };
                ns.push(start.elapsed().as_nanos() as u64);
                bytes.push(body.len() as u64);
            }
        }
    }
    let row = |(codec, (_, mut bytes, ns)): (Codec, (Frame, Vec<u64>, Vec<u64>))| {
        bytes.sort_unstable();
        let bytes = bytes.get(bytes.len() / 2).copied().unwrap_or(0);
        CodecEncoding { codec, bytes, encode_ns: Times::of(&ns) }
    };
    Codec::ALL.into_iter().zip(measured).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_back_and_other_words_refused() {
        let all = Codec::ALL.map(CodecChoice::Only);
        for choice in [CodecChoice::Auto, CodecChoice::None].into_iter().chain(all) {
            assert_eq!(choice.to_string().parse::<CodecChoice>().unwrap(), choice);
        }
        let message = "gzip".parse::<CodecChoice>().unwrap_err().to_string();
        assert!(message.contains("\"gzip\"") && message.contains("sparse"), "{message}");
    }
}
