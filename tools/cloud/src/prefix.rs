//! Prefixes of `.seam` files: the bytes that a board needs for an edge part, resumable.
//!
//! `GET /v2/seam/models/{name}/prefix?point=P` with `Range`, `If-Range` and `If-None-Match`
//! (RFC 9110: one byte range; several, or units other than bytes, count as none).

use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use seam_runtime::graph::Point;
use seam_runtime::model::Model;

use crate::failure::Failure;
use crate::models::Net;

/// The answer to a request of `headers` for the edge part of `net` at `point`.
pub(crate) fn prefix(net: &Net, point: Point, headers: &HeaderMap) -> Result<Response, Failure> {
    let model = &net.model;
    if point > model.reaches() {
        let graph = model.graph();
        return Err(Failure::missing(format!(
            "this host holds {} up to {:?} only",
            net.name,
            graph.point_name(model.reaches())
        )));
    }
    let len = model.prefix_len(point);
    // A prefix is determined by its model and its length.
    let etag = format!("\"{}-{len}\"", model.id_hex());
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let always = [
        (header::ETAG, etag.clone()),
        (header::ACCEPT_RANGES, "bytes".into()),
        (header::CONTENT_TYPE, "application/octet-stream".into()),
    ];
    if text(header::IF_NONE_MATCH).is_some_and(|tags| matches(tags, &etag)) {
        return Ok((StatusCode::NOT_MODIFIED, always).into_response());
    }
    let same = text(header::IF_RANGE).is_none_or(|tag| tag.trim() == etag);
    let wanted = match text(header::RANGE).filter(|_| same) {
        None => Wanted::All,
        Some(range) => wanted(range, len),
    };
    Ok(match wanted {
        Wanted::All => (always, slice(model, 0..len)).into_response(),
        Wanted::Part(part) => {
            let range = format!("bytes {}-{}/{len}", part.start, part.end - 1);
            let header = [(header::CONTENT_RANGE, range)];
            (StatusCode::PARTIAL_CONTENT, always, header, slice(model, part)).into_response()
        }
        Wanted::Nothing => {
            let header = [(header::CONTENT_RANGE, format!("bytes */{len}"))];
            let failure = Failure::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("the prefix has {len} bytes, the range begins behind them"),
            );
            ([(header::ETAG, etag)], header, failure).into_response()
        }
    })
}

#[derive(Debug, PartialEq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// What a `Range` header asks of `len` bytes (`len` > 0).
fn wanted(header: &str, len: u64) -> Wanted {
    let Some((first, last)) = header.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-'))
    else {
        return Wanted::All;
    };
    let number = |text: &str| match text.trim() {
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            // A number past u64 is past the end as well.
            Some(digits.parse::<u64>().unwrap_or(u64::MAX))
        }
        _ => None,
    };
    match (number(first), number(last)) {
        (Some(first), _) if first >= len && (last.trim().is_empty() || number(last).is_some()) => {
            Wanted::Nothing
        }
        (Some(first), Some(last)) if first <= last => Wanted::Part(first..(last.min(len - 1) + 1)),
        (Some(first), None) if last.trim().is_empty() => Wanted::Part(first..len),
        (None, Some(0)) if first.trim().is_empty() => Wanted::Nothing,
        (None, Some(count)) if first.trim().is_empty() => {
            Wanted::Part(len.saturating_sub(count)..len)
        }
        _ => Wanted::All,
    }
}

/// Does an `If-None-Match` value name `etag`?
fn matches(tags: &str, etag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
}

/// A part of the mapped file, sent without copying it.
fn slice(model: &Arc<Model>, range: Range<u64>) -> Body {
    struct Part(Arc<Model>, Range<usize>);
    impl AsRef<[u8]> for Part {
        fn as_ref(&self) -> &[u8] {
            &self.0.bytes()[self.1.clone()]
        }
    }
    let range = range.start as usize..range.end as usize;
    Body::from(Bytes::from_owner(Part(model.clone(), range)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_rfc_says() {
        use Wanted::{All, Nothing, Part};
        for (header, expected) in [
            ("bytes=0-", Part(0..100)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=10-19", Part(10..20)),
            ("bytes=10-1000", Part(10..100)),
            ("bytes=99-", Part(99..100)),
            ("bytes=-1", Part(99..100)),
            ("bytes=-1000", Part(0..100)),
            ("bytes=100-", Nothing),
            ("bytes=100-200", Nothing),
            ("bytes=99999999999999999999999-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=20-10", All),
            ("bytes=0-1,5-6", All),
            ("bytes=-", All),
            ("bytes=a-b", All),
            ("bytes=+1-2", All),
            ("pages=1-2", All),
            ("", All),
        ] {
            assert_eq!(wanted(header, 100), expected, "{header}");
        }
    }

    #[test]
    fn entity_tags_match_weakly() {
        assert!(matches("\"a\"", "\"a\"") && matches("W/\"a\"", "\"a\"") && matches("*", "\"a\""));
        assert!(matches("\"b\", \"a\"", "\"a\"") && !matches("\"b\"", "\"a\""));
    }
}
