//! Fetching the edge part of a network: a prefix of its `.seam` file, resumed where it broke off.
//!
//! Bytes arrive in `NET.seam.part`. A part left behind by an earlier try, or the shallower prefix
//! that is already there, is continued and not fetched again: whether it belongs to the same model
//! is settled by the hash of the whole, and if not, the download starts over. Only a file whose
//! hash is right takes the name asked for.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use seam_runtime::model::Model;
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use crate::client::encoded;
use crate::{Client, Error};

/// Tries in a row that bring no byte before the download is given up.
const TRIES: u32 = 4;
/// Longest prefix that is accepted.
const LIMIT: u64 = 4 << 30;

/// What [`Client::pull`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of them that were fetched now.
    pub fetched: u64,
}

impl Client {
    /// Writes the edge part of `network` for `point` (all that the host holds, if `None`) to `out`.
    /// `progress` is told the bytes there and the bytes in all.
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
    ) -> Result<Pulled, Error> {
        let path = part_of(out);
        if !path.exists() && out.exists() {
            std::fs::copy(out, &path).map_err(file(&path))?;
        }
        let mut part = Part::open(path)?;
        let continued = part.len > 0;
        let mut fetched = self.fill(&mut part, network, point, progress)?;
        if let Err(cause) = part.check() {
            if !continued {
                return Err(self.damaged(part, out, cause));
            }
            // What was continued was not of this model.
            part.truncate(0)?;
            fetched = self.fill(&mut part, network, point, progress)?;
            if let Err(cause) = part.check() {
                return Err(self.damaged(part, out, cause));
            }
        }
        let bytes = part.len;
        part.rename(out)?;
        Ok(Pulled { bytes, fetched })
    }

    fn damaged(&self, part: Part, out: &Path, cause: seam_runtime::Error) -> Error {
        // Bytes known to be wrong must not be continued; if they cannot be removed, the next
        // download's check finds them out again.
        let _ = std::fs::remove_file(&part.path);
        Error::Damaged { url: self.url().into(), path: out.into(), cause: cause.to_string() }
    }

    /// Appends to `part` until it is complete; the number of bytes fetched.
    fn fill(
        &self,
        part: &mut Part,
        network: &str,
        point: Option<&str>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<u64, Error> {
        let path = format!("/v2/seam/models/{}/prefix", encoded(network));
        let query: Vec<_> = point.map(|p| ("point", p)).into_iter().collect();
        let mut etag: Option<String> = None;
        let (mut fetched, mut tries) = (0, 0);
        loop {
            let before = part.len;
            let result = self
                .get_from(&path, &query, part.len, etag.as_deref())
                .and_then(|response| self.receive(response, part, &mut etag, progress));
            fetched += part.len.saturating_sub(before);
            tries = if part.len > before { 0 } else { tries + 1 };
            match result {
                Ok(()) => return Ok(fetched),
                Err(e) if !e.is_unreachable() || tries == TRIES => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_millis(100) * tries * tries),
            }
        }
    }

    /// Appends what `response` brings.
    fn receive(
        &self,
        response: Response<Body>,
        part: &mut Part,
        etag: &mut Option<String>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Error> {
        let text = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let status = response.status();
        let range = text(header::CONTENT_RANGE).and_then(content_range);
        let total = match (status, range) {
            (StatusCode::RANGE_NOT_SATISFIABLE, Some((None, total))) if total <= part.len => {
                // All of it is there, and perhaps more: a deeper prefix.
                return part.truncate(total);
            }
            (StatusCode::PARTIAL_CONTENT, Some((Some(first), total))) if first == part.len => total,
            (StatusCode::OK, _) => {
                part.truncate(0)?;
                text(header::CONTENT_LENGTH)
                    .and_then(|length| length.parse().ok())
                    .ok_or_else(|| self.nonsense("a prefix without Content-Length"))?
            }
            (status, _) if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(self.nonsense("not the part of the prefix that was asked for"));
            }
            _ => return self.accepted(response).map(drop),
        };
        if total > LIMIT {
            return Err(self.nonsense(format!("a prefix of {total} bytes")));
        }
        *etag = text(header::ETAG).map(str::to_string);
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 64 << 10];
        while part.len < total {
            let broken =
                |cause: String| Error::Unreachable { url: self.url().into(), cause };
            let n = reader.read(&mut buffer).map_err(|e| broken(e.to_string()))?;
            if n == 0 {
                return Err(broken(format!("{} of {total} bytes came", part.len)));
            }
            part.append(&buffer[..n])?;
            progress(part.len, total);
        }
        if part.len > total {
            return Err(self.nonsense("more bytes than announced"));
        }
        Ok(())
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

/// A file in the making.
struct Part {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Part {
    fn open(path: PathBuf) -> Result<Part, Error> {
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        let file = opened.map_err(file(&path))?;
        let len = file.metadata().map_err(self::file(&path))?.len();
        Ok(Part { path, file, len })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(file(&self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(file(&self.path))?;
        self.len = len;
        Ok(())
    }

    /// Are these the bytes of a prefix?
    fn check(&self) -> Result<(), seam_runtime::Error> {
        Model::open(&self.path)?.verify()
    }

    fn rename(self, out: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(file(&self.path))?;
        std::fs::rename(&self.path, out).map_err(file(out))
    }
}

fn part_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |cause| Error::File { path, cause }
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
