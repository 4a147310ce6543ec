//! Weights to panels.
//!
//! Packed bytes: the biases of every group's columns, their multipliers, then every group's
//! panels. Columns are padded to whole vectors of [`Kernel::LANES`] and every segment of the depth
//! to whole groups of [`Kernel::DEPTH`], with zeros.

use super::Kernel;
use crate::ConvGeometry;

/// Where everything lies in packed bytes, and how a sum's products are cut.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// A sum's products lie in so many segments, each consecutive in a region: the rows of the
    /// window, or its taps where they are dilated; or one, where rows are laid side by side.
    pub(crate) segments: usize,
    /// Whether rows are laid side by side in memory: padding the segments would cost more.
    pub(crate) side_by_side: bool,
    /// Groups of [`Kernel::DEPTH`] products of a segment.
    pub(crate) segment_groups: usize,
    /// Vectors of columns of one group of channels.
    pub(crate) vectors: usize,
    /// Panels of one group of channels.
    pub(crate) panels: usize,
    /// Columns of one group of channels, padding included.
    pub(crate) columns: usize,
    /// Offset of the multipliers.
    pub(crate) multipliers: usize,
    /// Offset of the panels.
    pub(crate) first_panel: usize,
    /// Bytes in all.
    pub(crate) len: usize,
}

impl Layout {
    pub(crate) fn new<K: Kernel>(g: &ConvGeometry) -> Layout {
        let [rows, columns] = g.window.kernel;
        let taps_lie_together = columns == 1 || g.window.dilation[1] == 1;
        let segments = if taps_lie_together { rows } else { rows * columns };
        let groups = |segments: usize| (g.depth() / segments).div_ceil(K::DEPTH);
        // Laying rows side by side costs about as much as a group of a kernel that takes a few
        // products at once; one that takes sixteen would waste more on segments of nine.
        let side_by_side = K::DEPTH > 4 && 4 * segments * groups(segments) > 5 * groups(1);
        let segments = if side_by_side { 1 } else { segments };
        let segment_groups = groups(segments);
        let vectors = g.group_outputs().div_ceil(K::LANES);
        let columns = vectors * K::LANES;
        let of_channels = 4 * g.groups * columns;
        let first_panel = (2 * of_channels).next_multiple_of(64);
        Layout {
            segments,
            side_by_side,
            segment_groups,
            vectors,
            panels: vectors.div_ceil(K::COLUMNS / K::LANES),
            columns,
            multipliers: of_channels,
            first_panel,
            len: first_panel + g.groups * columns * segments * segment_groups * K::DEPTH,
        }
    }

    /// Groups of products of one sum.
    pub(crate) fn groups(&self) -> usize {
        self.segments * self.segment_groups
    }

    /// Vectors before panel `panel` of a group of channels: panels differ by one at most.
    pub(crate) fn vectors_before(&self, panel: usize) -> usize {
        panel * self.vectors / self.panels
    }

    /// The panel with column `column`.
    fn panel_of<K: Kernel>(&self, column: usize) -> usize {
        ((column / K::LANES + 1) * self.panels - 1) / self.vectors
    }

    /// Vectors of panel `panel`.
    pub(crate) fn width(&self, panel: usize) -> usize {
        self.vectors_before(panel + 1) - self.vectors_before(panel)
    }

    /// Offset of panel `panel` of `channels` at group `group` of its products.
    pub(crate) fn panel<K: Kernel>(&self, channels: usize, panel: usize, group: usize) -> usize {
        let column = channels * self.columns + self.vectors_before(panel) * K::LANES;
        let width = self.width(panel) * K::LANES;
        self.first_panel + (column * self.groups() + width * group) * K::DEPTH
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
        let (channels, column) = (channel / outputs, channel % outputs);
        let slot = channels * layout.columns + column;
        let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
        // Wraps only where the layer's own sums could: the true total fits i32.
        let offset = (K::SUBTRACTED - i32::from(input_zero_point)).wrapping_mul(sum);
        let bias = bias[channel].wrapping_add(offset);
        packed[4 * slot..][..4].copy_from_slice(&bias.to_le_bytes());
        packed[layout.multipliers + 4 * slot..][..4]
            .copy_from_slice(&multipliers[channel].to_le_bytes());

        let panel = layout.panel_of::<K>(column);
        let in_panel = column - layout.vectors_before(panel) * K::LANES;
        let width = layout.width(panel) * K::LANES;
        let start = layout.panel::<K>(channels, panel, 0);
        for (segment, weights) in weights.chunks_exact(depth / layout.segments).enumerate() {
            for (i, weights) in weights.chunks(K::DEPTH).enumerate() {
                let group = segment * layout.segment_groups + i;
                let at = start + (group * width + in_panel) * K::DEPTH;
                for (to, &w) in packed[at..].iter_mut().zip(weights) {
                    *to = w as u8;
                }
            }
        }
    }
}
