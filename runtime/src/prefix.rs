//! From a shorter prefix of a `.seam` file to a longer one: what is there stays, the rest is
//! fetched and appended.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let body: &[u8] = &[];
//! let mut download = seam_runtime::prefix::Download::to("net.seam".as_ref())?;
//! // GET …/prefix with `Range: bytes={download.len()}-`, then the answer's body:
//! std::io::copy(&mut &body[..], &mut download)?;
//! let model = download.finish()?;
//! # Ok(()) }
//! ```
//!
//! The bytes go to a temporary file in the same folder; [`Download::finish`] checks every hash and
//! renames it over the old one, so that a broken connection leaves the old prefix as it was.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::writer::{persist, temporary};

/// A prefix that is being fetched.
pub struct Download {
    path: PathBuf,
    file: NamedTempFile,
    len: u64,
    extends: Option<[u8; 32]>,
}

impl Download {
    /// A download that ends up at `path` and extends the prefix there, if there is a sound one;
    /// otherwise it begins at byte 0.
    ///
    /// # Errors
    /// The folder of `path` cannot be written.
    pub fn to(path: &Path) -> Result<Download> {
        let mut download = Download::anew(path)?;
        // A file that is no model, or a damaged one, is no foundation: it is fetched again.
        if let Ok(model) = Model::open(path)
            && model.verify().is_ok()
        {
            download.write_all(model.bytes()).map_err(Error::io(path))?;
            download.extends = Some(model.id());
        }
        Ok(download)
    }

    /// A download that begins at byte 0, whatever is at `path`.
    ///
    /// # Errors
    /// The folder of `path` cannot be written.
    pub fn anew(path: &Path) -> Result<Download> {
        Ok(Download { path: path.to_path_buf(), file: temporary(path)?, len: 0, extends: None })
    }

    /// Bytes there already: the first byte to ask for.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the download begins at byte 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The model whose prefix is being extended: what the server's ETag must say.
    pub fn extends(&self) -> Option<[u8; 32]> {
        self.extends
    }

    /// Drops what is there: the server sends the file from byte 0.
    ///
    /// # Errors
    /// The temporary file cannot be cut.
    pub fn restart(&mut self) -> Result<()> {
        let file = self.file.as_file_mut();
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .map_err(Error::io(&self.path))?;
        (self.len, self.extends) = (0, None);
        Ok(())
    }

    /// Checks the whole prefix, every hash included, and puts it in its place.
    ///
    /// # Errors
    /// The bytes are no prefix, are damaged, or belong to another model than those they extend;
    /// then the file at the path is as it was.
    pub fn finish(mut self) -> Result<Model> {
        self.file.flush().map_err(Error::io(&self.path))?;
        let check = || {
            let model = Model::open(self.file.path())?;
            match self.extends.is_none_or(|id| id == model.id()) {
                true => model.verify(),
                false => Err(Error::OtherModel),
            }
        };
        check().map_err(|e| match (e, self.extends) {
            (Error::InFile { source, .. }, _) => source.in_file(&self.path),
            // The old prefix was sound: what came behind it is of another model, or damaged.
            (Error::PayloadChecksum { .. }, Some(_)) => Error::OtherModel.in_file(&self.path),
            (other, _) => other.in_file(&self.path),
        })?;
        persist(self.file, &self.path)?;
        Model::open(&self.path)
    }
}

impl Write for Download {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
