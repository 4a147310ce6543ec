//! The `.pack` file: weights laid out for one device.

use std::path::Path;

use crate::error::Result;
use crate::model::Model;
use seam_kernels::Isa;

/// Device layouts of a model's weights, mapped read-only and used where they lie.
pub struct Pack {
    _private: (),
}

/// The kernel chosen for a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The step.
    pub step: usize,
    /// Name of one of the kernels that can run its geometry (`Conv::algorithms`).
    pub algorithm: String,
}

impl Pack {
    /// Lays out the weights of every step that `model` holds and writes them to `path`: by the
    /// algorithms of `choices`, and by the preferred one for steps that are not among them.
    pub fn write(_path: &Path, _model: &Model, _isa: Isa, _choices: &[Choice]) -> Result<()> {
        todo!()
    }

    /// Maps the pack at `path` and checks its structure and that it is of `model` and `isa`.
    pub fn open(_path: &Path, _model: &Model, _isa: Isa) -> Result<Pack> {
        todo!()
    }
}
