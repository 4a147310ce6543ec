//! Every codec gives back the codes it was given, and refuses what no encoder wrote: on one line,
//! without a panic, and without more memory than the tensor has.

use proptest::prelude::*;
use seam_kernels::Shape;
use seam_runtime::{Codec, Error};

/// A tensor of `shape`, whose codes `draw` makes of a random number each and of those to the left.
fn tensor(shape: Shape, kind: Kind, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        // xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u32
    };
    let mut codes = vec![0u8; shape.len()];
    for i in 0..codes.len() {
        let left = if i >= shape.c { codes[i - shape.c] } else { 0 };
        let random = random();
        codes[i] = match kind {
            Kind::Noise => random as u8,
            Kind::One(code) => code,
            // Mostly the zero point, and what is not is near to it.
            Kind::Sparse(zero) if random % 4 < 3 => zero,
            Kind::Sparse(zero) => zero.wrapping_add((random >> 8) as u8 % 30),
            Kind::Smooth => left.wrapping_add((random % 3) as u8).wrapping_sub(1),
            Kind::Extremes => [0, 255][random as usize % 2],
        };
    }
    codes
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Noise,
    One(u8),
    Sparse(u8),
    Smooth,
    Extremes,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Noise),
        any::<u8>().prop_map(Kind::One),
        any::<u8>().prop_map(Kind::Sparse),
        Just(Kind::Smooth),
        Just(Kind::Extremes),
    ]
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (1..20usize, 1..20usize, 1..40usize),
        (Just(1), Just(1), 1..3000usize),
        (1..200usize, 1..30usize, Just(1)),
    ]
    .prop_map(|(h, w, c)| Shape::new(h, w, c))
}

/// The bytes of `codes`, in more room than the tensor takes: no codec needs twice of it and some.
fn encoded(codec: Codec, shape: Shape, codes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 2 * codes.len() + 256];
    let len = codec.encoder(shape).encode(codes, &mut out).expect("room enough");
    out.truncate(len);
    out
}

#[test]
fn what_is_sparse_shrinks_and_noise_does_not_fit_into_its_own_size() {
    let shape = Shape::new(14, 14, 64);
    for codec in Codec::ALL {
        let sparse = tensor(shape, Kind::Sparse(0), 3);
        assert!(encoded(codec, shape, &sparse).len() < shape.len() * 6 / 10, "{codec}");
        let noise = tensor(shape, Kind::Noise, 3);
        let mut out = vec![0; shape.len()];
        assert_eq!(codec.encoder(shape).encode(&noise, &mut out), None, "{codec}");
    }
}

#[test]
fn an_encoder_forgets_what_it_encoded_before_and_what_did_not_fit() {
    let shape = Shape::new(9, 7, 20);
    let one = tensor(shape, Kind::Sparse(7), 1);
    let other = tensor(shape, Kind::Smooth, 2);
    for codec in Codec::ALL {
        let mut encoder = codec.encoder(shape);
        let mut out = vec![0; 4 * shape.len()];
        let mut bytes = |codes: &[u8], room: usize| {
            encoder.encode(codes, &mut out[..room]).map(|len| out[..len].to_vec())
        };
        let first = bytes(&one, 4 * shape.len());
        assert!(first.is_some());
        bytes(&other, 4 * shape.len()).unwrap();
        assert_eq!(bytes(&one, 10), None);
        assert_eq!(bytes(&one, 0), None);
        assert_eq!(bytes(&one, 4 * shape.len()), first, "{codec}");
    }
}

#[test]
fn names_are_read_back_and_others_refused_with_those_there_are() {
    for codec in Codec::ALL {
        assert_eq!(codec.name().parse::<Codec>().unwrap(), codec);
        let json = serde_json::to_string(&codec).unwrap();
        assert_eq!(json, format!("{:?}", codec.name()));
        assert_eq!(serde_json::from_str::<Codec>(&json).unwrap(), codec);
    }
    let error = "gzip".parse::<Codec>().unwrap_err();
    assert!(matches!(error, Error::NoCodec { .. }));
    assert_eq!(error.to_string(), "no codec `gzip`: this version has deflate, zstd, sparse");
}

#[test]
fn bytes_that_end_early_or_go_on_are_refused_on_one_line() {
    let shape = Shape::new(6, 6, 32);
    let codes = tensor(shape, Kind::Sparse(0), 5);
    let mut out = vec![0; shape.len()];
    for codec in Codec::ALL {
        let bytes = encoded(codec, shape, &codes);
        let longer = [&bytes[..], &[0, 0, 0]].concat();
        let shorter = (0..bytes.len()).map(|len| &bytes[..len]);
        for wrong in shorter.chain([&longer[..]]) {
            let error = codec.decode(shape, wrong, &mut out).unwrap_err();
            let line = error.to_string();
            assert!(matches!(error, Error::Encoded { .. }), "{codec}: {line}");
            assert!(line.contains(codec.name()) && !line.contains('\n'), "{line}");
        }
        // The bytes of a larger tensor, and of a smaller one.
        for other in [Shape::new(6, 7, 32), Shape::new(5, 6, 32)] {
            let bytes = encoded(codec, other, &tensor(other, Kind::Sparse(0), 5));
            assert!(codec.decode(shape, &bytes, &mut out).is_err(), "{codec}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_tensor_comes_back_bit_for_bit(shape in shapes(), kind in kinds(), seed: u64) {
        let codes = tensor(shape, kind, seed);
        for codec in Codec::ALL {
            let bytes = encoded(codec, shape, &codes);
            let mut back = vec![0xa5; codes.len()];
            codec.decode(shape, &bytes, &mut back).unwrap();
            prop_assert!(back == codes, "{}", codec);
        }
    }

    #[test]
    fn random_bytes_are_refused_or_decoded_but_never_a_panic(
        shape in shapes(),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut out = vec![0; shape.len()];
        for codec in Codec::ALL {
            if let Err(error) = codec.decode(shape, &bytes, &mut out) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }

    #[test]
    fn flipped_bits_are_refused_or_decoded_but_never_a_panic(
        shape in shapes(),
        kind in kinds(),
        seed: u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u32), 1..6),
    ) {
        let codes = tensor(shape, kind, seed);
        let mut out = vec![0; shape.len()];
        for codec in Codec::ALL {
            let mut bytes = encoded(codec, shape, &codes);
            for (at, bit) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            if let Err(error) = codec.decode(shape, &bytes, &mut out) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
