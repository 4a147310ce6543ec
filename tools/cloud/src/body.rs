//! Reading a request's body within a limit of bytes and of patience.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::time::timeout;

use crate::failure::Failure;

/// Calls `take` with every piece of `body`; refuses a body over `limit` bytes, and one of which
/// nothing comes for `patience`.
pub(crate) async fn pieces(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    patience: Duration,
    mut take: impl FnMut(Bytes),
) -> Result<(), Failure> {
    let too_large = || {
        Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than the {limit} bytes that this request can need"),
        )
    };
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compressed bodies are not supported: send it without Content-Encoding",
        ));
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut total = 0;
    loop {
        let next = timeout(patience, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
        let frame = match next.await {
            Err(_) => {
                return Err(Failure::new(
                    StatusCode::REQUEST_TIMEOUT,
                    format!("nothing of the body came for {} s", patience.as_secs()),
                ));
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(e))) => return Err(Failure::bad(format!("the body broke off: {e}"))),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(piece) = frame.into_data() {
            total += piece.len();
            if total > limit {
                return Err(too_large());
            }
            take(piece);
        }
    }
}

/// The whole body.
pub(crate) async fn whole(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Failure> {
    // What the client says that it will send is memory only once it has sent it.
    let expected = body.size_hint().lower().min(limit as u64).min(4 << 20);
    let mut bytes = Vec::with_capacity(expected as usize);
    pieces(headers, body, limit, patience, |piece| bytes.extend_from_slice(&piece)).await?;
    Ok(bytes.into())
}
