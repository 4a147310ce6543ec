//! zlib over the tensor's channels.

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use miniz_oxide::{DataFormat, deflate::CompressionLevel};
use seam_kernels::Shape;

use super::{Encode, planes};

pub(super) struct Deflate {
    shape: Shape,
    planes: Vec<u8>,
    state: Box<CompressorOxide>,
}

impl Deflate {
    pub(super) fn new(shape: Shape) -> Deflate {
        // Higher levels take four to ten times as long for a twentieth of the bytes.
        let level = CompressionLevel::BestSpeed;
        let state = Box::new(CompressorOxide::with_format_and_level(DataFormat::Zlib, level));
        Deflate { shape, planes: vec![0; shape.len()], state }
    }
}

impl Encode for Deflate {
    fn encode(&mut self, codes: &[u8], out: &mut [u8]) -> Option<usize> {
        planes::split(self.shape, codes, &mut self.planes);
        self.state.reset();
        let (status, _, written) = compress(&mut self.state, &self.planes, out, TDEFLFlush::Finish);
        (status == TDEFLStatus::Done).then_some(written)
    }
}

pub(super) fn decode(shape: Shape, encoded: &[u8], codes: &mut [u8]) -> Result<(), String> {
    let mut planes = vec![0; codes.len()];
    let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    let (status, read, written) = decompress(&mut state, encoded, &mut planes, 0, flags);
    if status != TINFLStatus::Done || written != planes.len() || read != encoded.len() {
        return Err(format!(
            "{status:?} after {read} of {} bytes, with {written} of {} codes",
            encoded.len(),
            codes.len()
        ));
    }
    planes::merge(shape, &planes, codes);
    Ok(())
}
