//! Zstandard over the tensor's channels.

use seam_kernels::Shape;
use zstd_safe::{CCtx, DCtx, get_error_name};

use super::{Encode, planes};

/// The fastest of the format's levels that code entropy in full; those above find no more in
/// activations before they take a hundred times as long.
const LEVEL: i32 = 1;

pub(super) struct Zstd {
    shape: Shape,
    planes: Vec<u8>,
    state: CCtx<'static>,
}

impl Zstd {
    pub(super) fn new(shape: Shape) -> Zstd {
        let mut zstd = Zstd { shape, planes: vec![0; shape.len()], state: CCtx::create() };
        // The library makes its tables for the first input, and keeps them for others of its size.
        let mut nothing = [0; 64];
        let _ = zstd.state.compress(&mut nothing[..], &zstd.planes, LEVEL);
        zstd
    }
}

impl Encode for Zstd {
    fn encode(&mut self, codes: &[u8], out: &mut [u8]) -> Option<usize> {
        planes::split(self.shape, codes, &mut self.planes);
        // The one cause of an error is an `out` that is too short.
        self.state.compress(out, &self.planes, LEVEL).ok()
    }
}

pub(super) fn decode(shape: Shape, encoded: &[u8], codes: &mut [u8]) -> Result<(), String> {
    let mut planes = vec![0; codes.len()];
    match DCtx::create().decompress(&mut planes[..], encoded) {
        Ok(written) if written == planes.len() => {}
        Ok(written) => return Err(format!("{written} codes of {}", codes.len())),
        Err(code) => return Err(get_error_name(code).to_lowercase()),
    }
    planes::merge(shape, &planes, codes);
    Ok(())
}
