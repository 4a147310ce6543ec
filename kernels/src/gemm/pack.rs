//! Weights to panels.
//!
//! Packed bytes: the biases of every group's columns, the parts of them that each row of the window
//! brings, where padding is skipped, their multipliers, then every group's panels. Columns are
//! padded to whole vectors of [`Kernel::LANES`] and every segment of the depth to whole groups of
//! [`Kernel::DEPTH`], with zeros.

use std::ops::Range;

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
    /// Rows of the window that lie on padding are skipped.
    pub(crate) skips_padding: bool,
    /// Bytes of one number for every column of every group of channels.
    pub(crate) of_columns: usize,
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
        let panels = vectors.div_ceil(K::COLUMNS / K::LANES);
        let skips_padding =
            segments > 1 && segments == rows && skipping_pays::<K>(g, vectors, panels);
        let of_columns = 4 * g.groups * columns;
        let multipliers = of_columns * if skips_padding { 1 + segments } else { 1 };
        let first_panel = (multipliers + of_columns).next_multiple_of(64);
        Layout {
            segments,
            side_by_side,
            segment_groups,
            vectors,
            panels,
            columns,
            skips_padding,
            of_columns,
            multipliers,
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

/// Rows of the output whose windows have the same rows on the input.
pub(crate) struct Band {
    /// Rows of the output.
    pub(crate) rows: Range<usize>,
    /// Segments of the depth: rows of the window, where padding is skipped.
    pub(crate) segments: Range<usize>,
}

impl Layout {
    /// The bands of `rows` of the output; one, where padding is not skipped.
    pub(crate) fn bands(
        &self,
        g: &ConvGeometry,
        rows: Range<usize>,
    ) -> impl Iterator<Item = Band> + use<> {
        bands(g, rows, (!self.skips_padding).then_some(self.segments))
    }
}

/// The bands of `rows` of the output; one of `whole` segments, where that is given.
fn bands(
    g: &ConvGeometry,
    mut rows: Range<usize>,
    whole: Option<usize>,
) -> impl Iterator<Item = Band> + use<> {
    let (window, input) = (g.window, g.input.h);
    let [kernel, stride, dilation, pad] =
        [window.kernel, window.stride, window.dilation, window.pad].map(|[of_rows, _]| of_rows);
    // Behind the last row whose window ends on the input.
    let last = (input + pad).checked_sub((kernel - 1) * dilation + 1);
    let behind = last.map_or(0, |last| last / stride + 1);
    std::iter::from_fn(move || {
        // `rows` then starts behind `start`.
        let start = rows.next()?;
        let (segments, end) = match whole {
            Some(segments) => (0..segments, rows.end),
            None => match window.rows_on_input(input, start) {
                all if all.len() == kernel => (all, behind.clamp(rows.start, rows.end)),
                some => (some, rows.start),
            },
        };
        rows.start = end;
        Some(Band { rows: start..end, segments })
    })
}

/// Whether tiles that keep within bands take less time than tiles over all pixels: each vector of a
/// tile takes as long as the tile's rows and one more.
fn skipping_pays<K: Kernel>(g: &ConvGeometry, vectors: usize, panels: usize) -> bool {
    // Vectors of a panel, and how many panels have one more.
    let (narrow, wider) = (vectors / panels, vectors % panels);
    let of_band = |Band { rows, segments }: Band| {
        let pixels = rows.len() * g.output.w;
        let tiles = |vectors: usize| vectors * pixels.div_ceil(K::rows(vectors));
        let tiles = (panels - wider) * tiles(narrow) + wider * tiles(narrow + 1);
        (vectors * pixels + tiles) * segments.len()
    };
    let time = |whole| bands(g, 0..g.output.h, whole).map(of_band).sum::<usize>();
    time(None) < time(Some(g.window.kernel[0]))
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
        let of_segments = weights.chunks_exact(depth / layout.segments).map(|weights| {
            let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
            // Wraps only where the layer's own sums could: the true total fits i32.
            (K::SUBTRACTED - i32::from(input_zero_point)).wrapping_mul(sum)
        });
        let mut bias = bias[channel];
        for (segment, part) in of_segments.enumerate() {
            bias = bias.wrapping_add(part);
            if layout.skips_padding {
                let at = (1 + segment) * layout.of_columns + 4 * slot;
                packed[at..][..4].copy_from_slice(&part.to_le_bytes());
            }
        }
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
