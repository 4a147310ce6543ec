//! Adaptive range coding of activation maps, each code in the context of its neighbours.
//!
//! A map behind a ReLU is mostly one code, the zero point, and its other codes thin out with their
//! distance from it. So:
//!
//! 1. **Fold.** Codes are numbered by their distance from the most frequent one, the *centre*
//!    (0: the centre, 1: one above, 2: one below, …; what lies beyond the nearer end of the range
//!    is numbered on). Behind a ReLU the centre is 0 and nothing changes.
//! 2. **Class.** A folded code is one of sixteen classes, half octaves: 0, 1, 2, 3, 4–5, 6–7, 8–11,
//!    12–15, … 128–191, 192–255, and the place within its class, whose bits are near to even and
//!    cross as they are.
//! 3. **Context.** The same channel's folded codes to the left and above tell how large the next
//!    one will be: their sum, in half octaves, and whether just one of them is 0, choose one of 36
//!    models. A pixel's channels stand together in memory, so the neighbours of a whole pixel are
//!    two more runs of bytes, and nothing needs to be turned.
//! 4. **Model.** Each is the cumulative distribution of the sixteen classes. After every code it
//!    moves towards that code's class, by an eighth at first and a 128th in the end.
//! 5. **Range coder.** 32 bits of range, carries carried back into the bytes that are out.
//!
//! The first byte is the centre, the rest the range coder's number.

use seam_kernels::Shape;

use super::Encode;

/// Classes of a folded code.
const CLASSES: usize = 16;
/// Contexts: the half octaves of a sum of two folded codes, with and without exactly one zero.
const CONTEXTS: usize = 2 * (OCTAVES[2 * 255] as usize + 1);
/// The sum of a distribution is 2 to this power.
const TOTAL_BITS: u32 = 15;
const TOTAL: i32 = 1 << TOTAL_BITS;
/// What a class keeps of the distribution however long it has not come.
const LEAST: i32 = 4;
/// The range never falls below this between two symbols.
const LEAST_RANGE: u32 = 1 << 24;
/// Bytes that end the range coder's number.
const TAIL: usize = 4;

/// The half octave of a number: itself below 4, then two for every power of two.
const fn half_octave(number: usize) -> u8 {
    if number < 4 {
        return number as u8;
    }
    let octave = number.ilog2();
    (2 * octave) as u8 + (number >> (octave - 1) & 1) as u8
}

const OCTAVES: [u8; 2 * 255 + 1] = {
    let mut octaves = [0; 2 * 255 + 1];
    let mut i = 0;
    while i < octaves.len() {
        octaves[i] = half_octave(i);
        i += 1;
    }
    octaves
};

/// Bits that tell the codes of a class apart.
const fn extra_bits(class: usize) -> u32 {
    if class < 4 { 0 } else { class as u32 / 2 - 1 }
}

/// The first code of a class.
const fn first(class: usize) -> u32 {
    if class < 4 { class as u32 } else { (2 | (class as u32 & 1)) << (class as u32 / 2 - 1) }
}

/// The classes' distribution in one context.
#[derive(Clone)]
struct Model {
    /// Where class `i + 1` begins, that is where class `i` ends; the last one ends at [`TOTAL`] and
    /// its entry is not used. Ends are [`LEAST`] apart at the least, and every step keeps them so:
    /// it takes the floor of a mean of the old ends and of [`TARGETS`], which are too.
    ends: [i16; CLASSES],
    /// Codes seen.
    seen: u16,
}

/// Where a model moves to when a class comes: all of the distribution but the least of the others.
const TARGETS: [[i16; CLASSES]; CLASSES] = {
    let mut targets = [[0; CLASSES]; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let mut i = 0;
        while i < CLASSES - 1 {
            let from_below = (i as i32 + 1) * LEAST;
            let from_above = TOTAL - (CLASSES - 1 - i) as i32 * LEAST;
            targets[class][i] = if i < class { from_below } else { from_above } as i16;
            i += 1;
        }
        class += 1;
    }
    targets
};

impl Model {
    const EVEN: Model = {
        let mut ends = [0; CLASSES];
        let mut i = 0;
        while i < CLASSES - 1 {
            ends[i] = ((i as i32 + 1) * TOTAL / CLASSES as i32) as i16;
            i += 1;
        }
        Model { ends, seen: 0 }
    };

    /// Where `class` begins, and its size.
    #[inline(always)]
    fn span(&self, class: usize) -> (u32, u32) {
        let start = if class == 0 { 0 } else { self.ends[class - 1] as u32 };
        let end = if class == CLASSES - 1 { TOTAL as u32 } else { self.ends[class] as u32 };
        (start, end - start)
    }

    /// The class whose span holds `value`.
    #[inline(always)]
    fn find(&self, value: u32) -> usize {
        self.ends[..CLASSES - 1].iter().map(|&end| usize::from(end as u32 <= value)).sum()
    }

    #[inline(always)]
    fn learn(&mut self, class: usize) {
        // An eighth for the first codes, then slower as more have been seen.
        let rate = (self.seen + 8).ilog2().min(7);
        self.seen = (self.seen + 1).min(1 << 7);
        for (end, target) in self.ends.iter_mut().zip(TARGETS[class]) {
            *end += (target - *end) >> rate;
        }
    }
}

/// The model for a code between these two.
#[inline(always)]
fn context(left: u8, above: u8) -> usize {
    let one_is_zero = (left == 0) != (above == 0);
    2 * usize::from(OCTAVES[usize::from(left) + usize::from(above)]) + usize::from(one_is_zero)
}

/// The pixels to the left of the pixel at `index` and above it, out of the codes before it; at an
/// edge the other one twice, and none at the very first.
#[inline(always)]
fn neighbours(shape: Shape, before: &[u8], index: usize) -> Option<(&[u8], &[u8])> {
    let (c, row) = (shape.c, shape.w * shape.c);
    let back = |by: usize| &before[before.len() - by..][..c];
    match (!index.is_multiple_of(shape.w), index >= shape.w) {
        (true, true) => Some((back(c), back(row))),
        (true, false) => Some((back(c), back(c))),
        (false, true) => Some((back(row), back(row))),
        (false, false) => None,
    }
}

/// The codes by their distance from `centre`.
fn unfolding(centre: u8) -> [u8; 256] {
    let mut above = (centre..=255).skip(1);
    let mut below = (0..centre).rev();
    let mut codes = [centre; 256];
    let mut at = 1;
    while at < 256 {
        for code in [above.next(), below.next()].into_iter().flatten() {
            codes[at] = code;
            at += 1;
        }
    }
    codes
}

pub(super) struct Sparse {
    shape: Shape,
    folded: Vec<u8>,
    models: Box<[Model; CONTEXTS]>,
}

impl Sparse {
    pub(super) fn new(shape: Shape) -> Sparse {
        let models = Box::new([Model::EVEN; CONTEXTS]);
        Sparse { shape, folded: vec![0; shape.len()], models }
    }

    /// Folds `codes` and returns the centre.
    fn fold(&mut self, codes: &[u8]) -> u8 {
        let mut counts = [0u32; 256];
        for &code in codes {
            counts[usize::from(code)] += 1;
        }
        let most = counts.iter().max().copied().unwrap_or(0);
        let centre = counts.iter().position(|&count| count == most).unwrap_or(0) as u8;
        let mut fold = [0u8; 256];
        for (i, code) in unfolding(centre).into_iter().enumerate() {
            fold[usize::from(code)] = i as u8;
        }
        for (folded, &code) in self.folded.iter_mut().zip(codes) {
            *folded = fold[usize::from(code)];
        }
        centre
    }
}

impl Encode for Sparse {
    fn encode(&mut self, codes: &[u8], out: &mut [u8]) -> Option<usize> {
        let centre = self.fold(codes);
        let (first_byte, number) = out.split_first_mut()?;
        *first_byte = centre;
        self.models.fill(Model::EVEN);
        let mut coder = Coder { out: number, len: 0, low: 0, range: u32::MAX };
        for index in 0..self.shape.pixels() {
            let (before, rest) = self.folded.split_at(index * self.shape.c);
            let pixel = &rest[..self.shape.c];
            match neighbours(self.shape, before, index) {
                Some((left, above)) => {
                    for ((&code, &left), &above) in pixel.iter().zip(left).zip(above) {
                        coder.code(&mut self.models[context(left, above)], code);
                    }
                }
                None => pixel.iter().for_each(|&code| coder.code(&mut self.models[0], code)),
            }
            if coder.is_full() {
                return None;
            }
        }
        coder.finish().map(|len| len + 1)
    }
}

/// Writes a number by narrowing a range.
struct Coder<'a> {
    out: &'a mut [u8],
    /// Bytes written, or that would have been.
    len: usize,
    low: u32,
    range: u32,
}

impl Coder<'_> {
    #[inline(always)]
    fn code(&mut self, model: &mut Model, code: u8) {
        let class = usize::from(OCTAVES[usize::from(code)]);
        let (start, size) = model.span(class);
        self.narrow(start, size, TOTAL_BITS);
        model.learn(class);
        let bits = extra_bits(class);
        if bits > 0 {
            self.narrow(u32::from(code) & ((1 << bits) - 1), 1, bits);
        }
    }

    /// Takes the part from `start` on, `size` long, of a range divided into `2^bits`.
    #[inline(always)]
    fn narrow(&mut self, start: u32, size: u32, bits: u32) {
        let part = self.range >> bits;
        let (low, carry) = self.low.overflowing_add(part * start);
        self.low = low;
        self.range = part * size;
        if carry {
            self.carry();
        }
        while self.range < LEAST_RANGE {
            self.push((self.low >> 24) as u8);
            self.low <<= 8;
            self.range <<= 8;
        }
    }

    /// Adds one to the number that is out already.
    #[cold]
    fn carry(&mut self) {
        let end = self.len.min(self.out.len());
        for byte in self.out[..end].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    #[inline(always)]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
    }

    fn is_full(&self) -> bool {
        self.len > self.out.len()
    }

    /// Writes what is left and returns the length, if all of it had room.
    fn finish(mut self) -> Option<usize> {
        for byte in self.low.to_be_bytes() {
            self.push(byte);
        }
        (!self.is_full()).then_some(self.len)
    }
}

pub(super) fn decode(shape: Shape, encoded: &[u8], codes: &mut [u8]) -> Result<(), String> {
    let short = || format!("{} bytes are too few", encoded.len());
    let (&centre, number) = encoded.split_first().ok_or_else(short)?;
    if number.len() < TAIL {
        return Err(short());
    }
    let mut models = Box::new([Model::EVEN; CONTEXTS]);
    let mut decoder = Decoder { number, read: 0, value: 0, range: u32::MAX };
    for _ in 0..TAIL {
        decoder.shift();
    }
    for index in 0..shape.pixels() {
        let (before, rest) = codes.split_at_mut(index * shape.c);
        let pixel = &mut rest[..shape.c];
        match neighbours(shape, before, index) {
            Some((left, above)) => {
                for ((code, &left), &above) in pixel.iter_mut().zip(left).zip(above) {
                    *code = decoder.code(&mut models[context(left, above)]);
                }
            }
            None => pixel.iter_mut().for_each(|code| *code = decoder.code(&mut models[0])),
        }
        if decoder.read > number.len() {
            return Err(format!("the {} bytes end at pixel {index}", encoded.len()));
        }
    }
    if decoder.read != number.len() {
        return Err(format!("{} bytes are left over", number.len() - decoder.read));
    }
    let unfold = unfolding(centre);
    for code in codes {
        *code = unfold[usize::from(*code)];
    }
    Ok(())
}

/// Reads the number of a [`Coder`]: `value` is what lies above its `low`.
struct Decoder<'a> {
    number: &'a [u8],
    /// Bytes read, or that would have been.
    read: usize,
    value: u32,
    range: u32,
}

impl Decoder<'_> {
    #[inline(always)]
    fn code(&mut self, model: &mut Model) -> u8 {
        let part = self.range >> TOTAL_BITS;
        // A number that no coder wrote may lie beyond the range.
        let class = model.find((self.value / part).min(TOTAL as u32 - 1));
        let (start, size) = model.span(class);
        self.narrow(part, start, size);
        model.learn(class);
        let mut code = first(class);
        let bits = extra_bits(class);
        if bits > 0 {
            let part = self.range >> bits;
            let place = (self.value / part).min((1 << bits) - 1);
            self.narrow(part, place, 1);
            code += place;
        }
        code as u8
    }

    #[inline(always)]
    fn narrow(&mut self, part: u32, start: u32, size: u32) {
        self.value = self.value.wrapping_sub(part * start);
        self.range = part * size;
        while self.range < LEAST_RANGE {
            self.range <<= 8;
            self.shift();
        }
    }

    #[inline(always)]
    fn shift(&mut self) {
        let byte = self.number.get(self.read).copied().unwrap_or(0);
        self.read += 1;
        self.value = self.value << 8 | u32::from(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_code_once() {
        for code in 0..=255u8 {
            let class = usize::from(OCTAVES[usize::from(code)]);
            let place = u32::from(code) & ((1 << extra_bits(class)) - 1);
            assert_eq!(first(class) + place, u32::from(code));
        }
        assert_eq!((CONTEXTS, usize::from(OCTAVES[255]) + 1), (36, CLASSES));
    }

    #[test]
    fn folding_numbers_every_code_by_its_distance() {
        assert!(unfolding(0).iter().enumerate().all(|(i, &code)| i == usize::from(code)));
        assert_eq!(unfolding(255)[..3], [255, 254, 253]);
        assert_eq!(unfolding(2)[..7], [2, 3, 1, 4, 0, 5, 6]);
        for centre in 0..=255 {
            let mut codes = unfolding(centre);
            codes.sort_unstable();
            assert!(codes.iter().enumerate().all(|(i, &code)| i == usize::from(code)));
        }
    }

    #[test]
    fn no_run_of_classes_leaves_another_without_its_part() {
        for class in 0..CLASSES {
            let mut model = Model::EVEN;
            for _ in 0..5000 {
                model.learn(class);
                for other in 0..CLASSES {
                    let (start, size) = model.span(other);
                    assert!(size >= LEAST as u32 && start + size <= TOTAL as u32);
                    assert!(model.find(start) == other && model.find(start + size - 1) == other);
                }
            }
            assert!(model.span(class).1 > TOTAL as u32 * 9 / 10, "it has learnt");
        }
    }
}
