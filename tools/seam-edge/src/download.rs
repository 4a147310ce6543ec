//! Fetching the edge part of a network: a prefix of its `.seam` file, continued where it broke off,
//! and from the shallower prefix that is already there.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use seam_runtime::model::{Model, hex};
use seam_runtime::prefix::Download;
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use crate::client::encoded;
use crate::{Client, Error};

/// Tries in a row that bring no byte before the download is given up.
const TRIES: u32 = 4;
/// Longest prefix that is accepted.
const LIMIT: u64 = 4 << 30;

/// What a response left to do.
enum Next {
    /// All bytes are there.
    Complete,
    /// The host's model is another one than that of the file there: from the start.
    Again,
}

impl Client {
    /// Writes the edge part of `network` for `point` (all that the host holds, if `None`) to `out`
    /// and gives the model back. What `out` already holds of the same model is not fetched again,
    /// and a deeper prefix stays as it is. `progress` is told the bytes there and the bytes in all.
    ///
    /// # Errors
    /// The host is unreachable or has no such prefix, the bytes are damaged, or the file cannot be
    /// written; `out` is then as it was.
    pub fn pull(
        &self,
        network: &str,
        point: Option<&str>,
        out: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Model, Error> {
        let path = format!("/v2/seam/models/{}/prefix", encoded(network));
        let query: Vec<_> = point.map(|p| ("point", p)).into_iter().collect();
        let mut download = Download::to(out)?;
        let (mut etag, mut tries) = (None, 0);
        loop {
            let before = download.len();
            let result = self
                .get_from(&path, &query, before, etag.as_deref())
                .and_then(|response| self.receive(response, &mut download, &mut etag, progress));
            tries = if download.len() > before { 0 } else { tries + 1 };
            match result {
                Ok(Next::Complete) => break,
                Ok(Next::Again) if tries < TRIES => download.restart()?,
                Ok(Next::Again) => return Err(self.nonsense("the prefix changes all the time")),
                Err(e) if !e.is_unreachable() || tries == TRIES => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_millis(100) * tries * tries),
            }
        }
        download
            .finish()
            .map_err(|e| Error::Damaged { url: self.url().into(), cause: e.to_string() })
    }

    /// Appends what `response` brings.
    fn receive(
        &self,
        response: Response<Body>,
        download: &mut Download,
        etag: &mut Option<String>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Next, Error> {
        let status = response.status();
        if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
            return self.accepted(response).map(|_| Next::Again);
        }
        let text = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let tag = text(header::ETAG);
        if let Some(id) = download.extends()
            && !tag.is_some_and(|tag| tag.starts_with(&format!("\"{}-", hex(&id))))
        {
            return Ok(Next::Again);
        }
        *etag = tag.map(str::to_string);
        let range = text(header::CONTENT_RANGE).and_then(content_range);
        let total = match (status, range) {
            (StatusCode::RANGE_NOT_SATISFIABLE, Some((None, total))) if total <= download.len() => {
                return Ok(Next::Complete);
            }
            (StatusCode::PARTIAL_CONTENT, Some((Some(first), total)))
                if first == download.len() =>
            {
                total
            }
            (StatusCode::OK, _) => {
                download.restart()?;
                text(header::CONTENT_LENGTH)
                    .and_then(|length| length.parse().ok())
                    .ok_or_else(|| self.nonsense("a prefix without Content-Length"))?
            }
            _ => return Err(self.nonsense("not the part of the prefix that was asked for")),
        };
        if total > LIMIT {
            return Err(self.nonsense(format!("a prefix of {total} bytes")));
        }
        let broken = |cause| Error::Unreachable { url: self.url().into(), cause };
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 64 << 10];
        while download.len() < total {
            let n = reader.read(&mut buffer).map_err(|e| broken(e.to_string()))?;
            if n == 0 {
                return Err(broken(format!("{} of {total} bytes came", download.len())));
            }
            download.write_all(&buffer[..n]).map_err(Error::Write)?;
            progress(download.len(), total);
        }
        Ok(Next::Complete)
    }
}

/// First byte (`None` for `*`) and total of a `Content-Range`.
fn content_range(header: &str) -> Option<(Option<u64>, u64)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let first = match range {
        "*" => None,
        range => Some(range.split_once('-')?.0.parse().ok()?),
    };
    Some((first, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((Some(5), 10)));
        assert_eq!(content_range("bytes */10"), Some((None, 10)));
        for bad in ["bytes 5/10", "bytes 5-9", "5-9/10", "bytes x-9/10", "bytes 5-9/*", ""] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
