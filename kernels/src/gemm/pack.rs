//! Weights to panels.
//!
//! Packed bytes: the biases of every group's columns, their multipliers, then every group's
//! panels. Columns are padded to whole (or half) panels and the depth to whole groups of
//! [`Kernel::DEPTH`], with zeros.

use super::Kernel;
use crate::ConvGeometry;

/// Where everything lies in packed bytes.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Products of one sum, rounded up to [`Kernel::DEPTH`].
    pub(crate) depth: usize,
    /// Columns of one group, padding included.
    pub(crate) columns: usize,
    /// Offset of the multipliers.
    pub(crate) multipliers: usize,
    /// Offset of the panels.
    pub(crate) panels: usize,
    /// Bytes in all.
    pub(crate) len: usize,
}

impl Layout {
    pub(crate) fn new<K: Kernel>(geometry: &ConvGeometry) -> Layout {
        let depth = geometry.depth().next_multiple_of(K::DEPTH);
        let outputs = geometry.group_outputs();
        let granule = if K::HALVES { K::COLUMNS / 2 } else { K::COLUMNS };
        let columns = outputs.next_multiple_of(granule);
        let of_channels = 4 * geometry.groups * columns;
        let panels = (2 * of_channels).next_multiple_of(64);
        let len = panels + geometry.groups * columns * depth;
        Layout { depth, columns, multipliers: of_channels, panels, len }
    }

    /// Panels of one group.
    pub(crate) fn panel_count<K: Kernel>(&self) -> usize {
        self.columns.div_ceil(K::COLUMNS)
    }

    /// Columns of panel `panel` of a group.
    pub(crate) fn width<K: Kernel>(&self, panel: usize) -> usize {
        (self.columns - panel * K::COLUMNS).min(K::COLUMNS)
    }

    /// Offset of panel `panel` of `group` at depth `k`, a multiple of [`Kernel::DEPTH`].
    pub(crate) fn panel<K: Kernel>(&self, group: usize, panel: usize, k: usize) -> usize {
        let column = group * self.columns + panel * K::COLUMNS;
        self.panels + column * self.depth + k * self.width::<K>(panel)
    }
}

/// Bytes that [`pack`] writes.
pub(crate) fn packed_len<K: Kernel>(geometry: &ConvGeometry) -> usize {
    Layout::new::<K>(geometry).len
}

/// Packs OHWI weights with one bias and one multiplier per output channel.
pub(crate) fn pack<K: Kernel>(
    geometry: &ConvGeometry,
    input_zero_point: u8,
    weights: &[i8],
    bias: &[i32],
    multipliers: &[f32],
    packed: &mut [u8],
) {
    let layout = Layout::new::<K>(geometry);
    let depth = geometry.depth();
    let outputs = geometry.group_outputs();
    let packed = &mut packed[..layout.len];
    packed.fill(0);
    for (channel, weights) in weights.chunks_exact(depth).enumerate() {
        let (group, column) = (channel / outputs, channel % outputs);
        let slot = group * layout.columns + column;
        let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
        // Wraps only where the layer's own sums could: the true total fits i32.
        let offset = (K::SUBTRACTED - i32::from(input_zero_point)).wrapping_mul(sum);
        let bias = bias[channel].wrapping_add(offset);
        packed[4 * slot..][..4].copy_from_slice(&bias.to_le_bytes());
        packed[layout.multipliers + 4 * slot..][..4]
            .copy_from_slice(&multipliers[channel].to_le_bytes());

        let (panel, in_panel) = (column / K::COLUMNS, column % K::COLUMNS);
        let width = layout.width::<K>(panel);
        let start = layout.panel::<K>(group, panel, 0);
        for (i, weights) in weights.chunks(K::DEPTH).enumerate() {
            let at = start + (i * width + in_panel) * K::DEPTH;
            for (to, &w) in packed[at..].iter_mut().zip(weights) {
                *to = w as u8;
            }
        }
    }
}
