use std::fs;
use std::path::{Path, PathBuf};

use super::TorchFile;
use super::machine::Machine;
use super::tensors::{described, numbers};
use crate::weights::WeightsFile;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// `tools/parity/export_pickles.py` wrote the same tensors in all containers.
#[test]
fn every_container_holds_what_pytorch_put_there() {
    let expected = WeightsFile::open(&golden("pickle.safetensors")).unwrap();
    let entries: [(&str, &[&str]); 3] = [
        ("pickle_zip.pt", &[]),
        ("pickle_legacy.pt", &[]),
        // Counters beside the weights, not among them, are not looked at.
        ("pickle_wrapped.pt", &[]),
    ];
    for (name, skipped) in entries {
        let file = TorchFile::open(&golden(name)).unwrap();
        assert_eq!(file.tensors().len(), expected.keys().count(), "{name}");
        for tensor in file.tensors() {
            let key = &tensor.name;
            assert_eq!(expected.dtype(key), Some(tensor.dtype), "{name}: {key}");
            assert_eq!(expected.shape(key), Some(&*tensor.shape), "{name}: {key}");
            assert_eq!(
                expected.bytes(key),
                Some(file.bytes(tensor)),
                "{name}: {key}"
            );
        }
        assert_eq!(file.skipped(), skipped);
        let file = WeightsFile::open_any(&golden(name)).unwrap();
        assert!(file.keys().eq(expected.keys()), "{name}");
        assert_eq!(file.stored_bytes(), expected.stored_bytes(), "{name}");
        for key in file.keys() {
            assert_eq!(file.bytes(key), expected.bytes(key), "{name}: {key}");
            assert_eq!(file.f32(key), expected.f32(key), "{name}: {key}");
        }
    }
}

/// Wherever a file is cut off, that is an error and not a crash.
#[test]
fn truncated_files_are_refused() {
    for name in ["pickle_zip.pt", "pickle_legacy.pt"] {
        let whole = fs::read(golden(name)).unwrap();
        assert!(described(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(
                described(&whole[..length]).is_err(),
                "{name} cut at {length}"
            );
        }
    }
}

/// Whatever byte is damaged, the file is read or refused; numbers never come from outside of it.
#[test]
fn damaged_files_do_no_harm() {
    for name in ["pickle_zip.pt", "pickle_legacy.pt"] {
        let whole = fs::read(golden(name)).unwrap();
        let mut refused = 0;
        for at in 0..whole.len() {
            for flip in [0x01, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                match described(&bytes) {
                    Ok(found) => {
                        for tensor in &found.tensors {
                            let count: usize = tensor.shape.iter().product();
                            let width = tensor.dtype.bitsize() / 8;
                            assert_eq!(numbers(&bytes, tensor).len(), count * width);
                        }
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 100, "{name}: only {refused} damages were noticed");
    }
}

/// The broken rule of a pickle.
fn refused(pickle: &[u8]) -> String {
    Machine::new(pickle).run().map(drop).unwrap_err()
}

#[test]
fn programs_are_named_and_not_run() {
    for (pickle, named) in [
        (
            &b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."[..],
            "os.system",
        ),
        (
            b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
            "builtins.eval",
        ),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch\nEvilStorage\n.", "torch.EvilStorage"),
        (
            b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
            "OrderedDict",
        ),
        (b"\x80\x02cos\x1b[2J\nx\n.", ""),
        (b"\x80\x02csubprocess\nx\x1b\n.", "subprocess.x\\u{1b}"),
        (b"\x80\x02i", "instruction 0x69"),
        (b"\x80\x02K\x01N}b.", "sets the state"),
        (b"\x80\x02N.Q", ""),
        (b"\x80\x02X\x07\0\0\0storageQ.", "no storage"),
        (b"\x80\x02K\x01K\x02a.", "no list"),
        (b"\x80\x02]K\x01K\x02s.", "no dictionary"),
        (b"\x80\x02h\x05.", "never stored"),
        (b"\x80\x02t.", "mark"),
        (b"\x80\x02R", "empty stack"),
        (b"\x80\x07.", "protocol 7"),
        (b"\x80\x02X\xff\xff\xff\xff.", "ends in the middle"),
    ] {
        if named.is_empty() {
            assert!(Machine::new(pickle).run().is_ok());
        } else {
            let rule = refused(pickle);
            assert!(rule.contains(named), "{rule}");
        }
    }
}

/// A pair that holds itself twice, thirty times over, is a billion values to anyone who unfolds it.
#[test]
fn shared_values_are_not_unfolded() {
    let mut pickle = b"\x80\x02N\x85q\0".to_vec();
    for _ in 0..200 {
        pickle.extend(b"h\0\x86q\0h\0");
    }
    pickle.push(b'.');
    assert!(Machine::new(&pickle).run().is_ok());
}

/// `_rebuild_tensor_v2(storage of `count` numbers, offset, size, stride)`
fn view(count: u8, offset: u8, size: &[u8], stride: &[u8]) -> Vec<u8> {
    let tuple = |items: &[u8]| {
        let items = items.iter().flat_map(|item| [b'K', *item]);
        [b'(']
            .into_iter()
            .chain(items)
            .chain([b't'])
            .collect::<Vec<u8>>()
    };
    let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpuK");
    pickle.extend([count, b't', b'Q', b'K', offset]);
    pickle.extend(tuple(size));
    pickle.extend(tuple(stride));
    pickle.extend(b"\x89NtR.");
    pickle
}

#[test]
fn views_stay_within_their_storage() {
    assert!(Machine::new(&view(6, 0, &[2, 3], &[3, 1])).run().is_ok());
    assert!(Machine::new(&view(6, 6, &[0, 9], &[9, 1])).run().is_ok());
    for pickle in [
        view(5, 0, &[2, 3], &[3, 1]),
        view(6, 1, &[2, 3], &[3, 1]),
        view(6, 0, &[2, 3], &[4, 1]),
        view(0, 0, &[1], &[1]),
    ] {
        assert!(refused(&pickle).contains("beyond its storage"));
    }
    assert!(refused(&view(1, 0, &[255, 255], &[0, 0])).contains("repeats"));
    assert!(refused(&view(6, 0, &[2], &[1, 1])).contains("differ in length"));
}

#[test]
fn other_files_say_what_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    for (bytes, told) in [
        (&b""[..], "empty"),
        (b"hello there", "neither a zip archive nor a pickle"),
        (b"\x80\x02N.", "not one of torch.save"),
        (b"PK\x03\x04", "too short"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = TorchFile::open(&path).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("x.bin"), "{error}");
    }
}

/// `tools/parity/export_pickles.py` wrote what training programs save beside weights.
#[test]
fn what_is_beside_the_weights_is_left_out_and_listed() {
    for (name, keys, skipped, foreign) in [
        (
            "pickle_beside.pt",
            2,
            vec!["size", "device", "dtype", "counts", "names"],
            vec!["argparse.Namespace"],
        ),
        ("pickle_trainer.pt", 2, vec![], vec![]),
        ("pickle_parameter.pt", 1, vec![], vec![]),
    ] {
        let file = TorchFile::open(&golden(name)).unwrap_or_else(|error| panic!("{error}"));
        let expected = WeightsFile::open(&golden("pickle.safetensors")).unwrap();
        assert_eq!(file.tensors().len(), keys, "{name}");
        for tensor in file.tensors() {
            assert_eq!(
                expected.bytes(&tensor.name),
                Some(file.bytes(tensor)),
                "{name}: {}",
                tensor.name
            );
        }
        for entry in skipped {
            assert!(
                file.skipped().iter().any(|own| own == entry),
                "{name}: {entry}"
            );
        }
        assert!(
            foreign
                .iter()
                .all(|name| file.foreign().iter().any(|own| own == name)),
            "{:?}",
            file.foreign()
        );
    }
}
