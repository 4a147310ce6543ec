//! The commands, and what they share.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use seam_kernels::Isa;
use seam_runtime::{Error, Model, Options, Pack, Session};

pub(crate) mod adaptive;
pub(crate) mod bench;
pub(crate) mod infer;
pub(crate) mod info;
pub(crate) mod kernels;
pub(crate) mod profile;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod tune;

/// What every command takes that runs a network.
#[derive(clap::Args)]
pub(crate) struct Running {
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZero<usize>>,
    /// Weights laid out by `seam-edge tune` [default: NET.pack where it stands beside NET.seam]
    #[arg(long, value_name = "FILE")]
    pub(crate) pack: Option<PathBuf>,
}

impl Running {
    /// The session's options for the model at `path`.
    pub(crate) fn options(&self, path: &Path, model: &Model) -> Result<Options> {
        let mut options = options(self.threads)?;
        let beside = path.with_extension("pack");
        options.pack = match &self.pack {
            Some(pack) => Some(fitting(pack, model, options.isa)?),
            None if beside.exists() => match fitting(&beside, model, options.isa) {
                Ok(pack) => Some(pack),
                // Of another model, or made under another SEAM_ISA: it would be a help, no more.
                Err(e) => {
                    eprintln!(
                        "seam-edge: going on without the pack: {}",
                        seam_edge::one_line(&e.into())
                    );
                    None
                }
            },
            None => None,
        };
        Ok(options)
    }
}

/// The pack at `path`, made for `model` and `isa`.
fn fitting(path: &Path, model: &Model, isa: Isa) -> Result<Arc<Pack>, Error> {
    let pack = Pack::open(path)?;
    pack.check(model, isa).map_err(|e| e.in_file(path))?;
    Ok(Arc::new(pack))
}

/// The options of a session on all of the file, with `threads` or one a core.
pub(crate) fn options(threads: Option<NonZero<usize>>) -> Result<Options> {
    let mut options = Options::from_env()?;
    options.threads = threads.or(std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
    Ok(options)
}

/// The instruction set that `SEAM_ISA` allows.
pub(crate) fn isa() -> Result<Isa> {
    Ok(Isa::from_env()?)
}

/// The model at `path`.
pub(crate) fn open(path: &Path) -> Result<Arc<Model>, Error> {
    Model::open(path).map(Arc::new)
}

/// The JPEG and PNG files of `folder`, in the order of their names; at least one.
pub(crate) fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if ["jpg", "jpeg", "png"].contains(&extension.to_ascii_lowercase().as_str()) {
            files.push(path);
        }
    }
    ensure!(
        !files.is_empty(),
        "{} holds no JPEG or PNG image: name another folder of images",
        folder.display()
    );
    files.sort();
    Ok(files)
}

/// Says that the session has laid out its weights itself, if so.
pub(crate) fn tell_of_packing(session: &Session) {
    let bytes = session.packed_at_start();
    if bytes > 0 {
        eprintln!("seam-edge: laid out {bytes} bytes of weights; `seam-edge tune` does that once");
    }
}

/// Codes without a pattern: what a network is timed on.
pub(crate) fn noise(codes: &mut [u8]) {
    let mut state = 1u32;
    for code in codes {
        // Numerical Recipes' generator; its high byte is the random one.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *code = (state >> 24) as u8;
    }
}

/// A bar on standard error, where that is a terminal.
pub(crate) fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}%");
    let bar = ProgressBar::new(1000).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
