//! From a graph and its weights to a `.seam` file.

use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::format::Header;
use crate::format::layout::Layout;
use crate::graph::{Graph, Op, StepData, StepWeights};
use crate::model::input_zero_point;
use crate::validate;

/// The bytes of a `.seam` file; `data` has one entry per step.
///
/// # Errors
/// The graph contradicts itself, `data` does not fit it, a weight is −128, a scale not positive and
/// finite, or a sum could pass the accumulator.
pub fn encode(graph: &Graph, data: &[StepData]) -> Result<Vec<u8>> {
    validate::graph(graph)?;
    check_data(graph, data)?;
    let mut payload = Vec::new();
    let (mut file, layout) = Header::encode(graph, |layout| {
        payload = encode_payload(layout, data);
        hashes(layout, &payload)
    })?;
    file.append(&mut payload);
    debug_assert_eq!(file.len(), layout.end());
    Ok(file)
}

/// Writes the model to `path`: to a temporary file beside it, fsynced, renamed.
///
/// # Errors
/// As [`encode`], or the file cannot be written; then `path` is as it was.
pub fn write(path: &Path, graph: &Graph, data: &[StepData]) -> Result<()> {
    write_file(path, &encode(graph, data)?)
}

/// Puts a file of `bytes` at `path`, whole or not at all: written to a temporary file in the same
/// folder, fsynced, renamed.
///
/// # Errors
/// The file cannot be written; then `path` is as it was.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = temporary(path)?;
    file.write_all(bytes).map_err(Error::io(path))?;
    persist(file, path)
}

/// An empty temporary file in the folder of `path`; gone when dropped.
pub(crate) fn temporary(path: &Path) -> Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".seam-").tempfile_in(folder(path)).map_err(Error::io(path))
}

/// Fsyncs `file` and renames it to `path`, with the permissions of a file created there.
pub(crate) fn persist(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private; a model is to be read by whoever runs it.
        let readable = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(readable).map_err(Error::io(path))?;
    }
    file.as_file().sync_all().map_err(Error::io(path))?;
    file.persist(path).map_err(|e| Error::io(path)(e.error))?;
    // The rename itself lasts once the folder is on disk; a file system that cannot sync folders
    // has still written the file.
    if let Ok(folder) = std::fs::File::open(folder(path)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn check_data(graph: &Graph, data: &[StepData]) -> Result<()> {
    if data.len() != graph.steps.len() {
        let cause = format!("{} of {} steps have data", data.len(), graph.steps.len());
        return Err(Error::field("header", "steps", cause));
    }
    for (i, (step, data)) in graph.steps.iter().zip(data).enumerate() {
        let refuse = |cause: String| Err(Error::StepData { step: step.name.clone(), cause });
        let lens = |expected: [usize; 3], found: [usize; 3]| match expected == found {
            true => Ok(()),
            false => refuse(format!(
                "scales, bias and weights have {found:?} values, the geometry needs {expected:?}"
            )),
        };
        match (&step.op, data) {
            (Op::Conv { geometry: g, .. }, StepData::Int8 { scales, bias, weights }) => lens(
                [g.output.c, g.output.c, g.weights()],
                [scales.len(), bias.len(), weights.len()],
            )?,
            (Op::FloatConv { geometry: g, .. }, StepData::Float { bias, weights }) => {
                lens([0, g.output.c, g.weights()], [0, bias.len(), weights.len()])?
            }
            (Op::Conv { .. } | Op::FloatConv { .. }, _) => {
                return refuse("the data is not of the operator's kind".into());
            }
            (_, StepData::None) => {}
            (_, _) => return refuse("the operator has no weights".into()),
        }
        validate::weights(step, input_zero_point(graph, i), data.as_weights())?;
    }
    Ok(())
}

fn encode_payload(layout: &Layout, data: &[StepData]) -> Vec<u8> {
    let header = layout.header_len();
    let mut payload = vec![0; layout.end() - header];
    for (i, data) in data.iter().enumerate() {
        let arrays = layout.step(i);
        let parts: [&[u8]; 3] = match data {
            StepData::None => continue,
            StepData::Int8 { scales, bias, weights } => [
                bytemuck::cast_slice(scales),
                bytemuck::cast_slice(bias),
                bytemuck::cast_slice(weights),
            ],
            StepData::Float { bias, weights } => {
                [&[], bytemuck::cast_slice(bias), bytemuck::cast_slice(weights)]
            }
        };
        for (range, bytes) in [&arrays.scales, &arrays.bias, &arrays.weights].into_iter().zip(parts)
        {
            payload[range.start - header..range.end - header].copy_from_slice(bytes);
        }
    }
    payload
}

fn hashes(layout: &Layout, payload: &[u8]) -> Vec<[u8; 32]> {
    let (mut sha, mut at) = (Sha256::new(), 0);
    let up_to = |&end: &usize| {
        let end = end - layout.header_len();
        sha.update(&payload[at..end]);
        at = end;
        sha.clone().finalize().into()
    };
    layout.prefix_lens().iter().map(up_to).collect()
}

impl StepData {
    /// The same weights, borrowed.
    pub fn as_weights(&self) -> StepWeights<'_> {
        match self {
            StepData::None => StepWeights::None,
            StepData::Int8 { scales, bias, weights } => StepWeights::Int8 { scales, bias, weights },
            StepData::Float { bias, weights } => StepWeights::Float { bias, weights },
        }
    }
}
