//! CIFAR-10, Fashion-MNIST and the user's own arrays: files of the real formats, made here, whole
//! and broken.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::sets::{
    assert_has, bytes, failure, message, select, shape, temporary, write_mnist,
};
use diabolo::data::{DataError, Dataset};
use diabolo::data::{Selection, load, load_from};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

// CIFAR-10

const BATCHES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// A record whose planes are each of one value.
fn record(label: u8, rgb: [u8; 3]) -> Vec<u8> {
    let mut record = vec![label];
    for value in rgb {
        record.extend([value; 1024]);
    }
    record
}

/// Batch `index`: two records that say so.
fn batch(index: usize) -> Vec<u8> {
    let index = index as u8;
    let first = record(index, [index, 100, 200]);
    [first, record(9, [50, index, 60])].concat()
}

fn cifar_folder() -> TempDir {
    let folder = temporary();
    for (index, name) in BATCHES.iter().enumerate() {
        fs::write(folder.path().join(name), batch(index)).unwrap();
    }
    folder
}

fn check_cifar(data: &Dataset) {
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (10, 2, 10)
    );
    assert_eq!(data.train.shape(), shape(32, 32, 3));
    assert_eq!(data.train_labels, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
    assert_eq!(data.test_labels, [5, 9]);
    assert_eq!(
        bytes(&data.train)[2 * 3072..][..6],
        [1, 100, 200, 1, 100, 200]
    );
    assert_eq!(bytes(&data.test)[2 * 3072 - 3..], [50, 5, 60]);
}

/// A gzip tar archive of files, written without the checks of a well-behaved archiver.
fn archive(path: &Path, files: &[(&str, Vec<u8>)]) {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    fs::write(path, builder.into_inner().unwrap().finish().unwrap()).unwrap();
}

fn whole_archive(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let batches = BATCHES.iter().enumerate();
    batches
        .map(|(index, name)| (format!("{prefix}{name}"), batch(index)))
        .collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, Vec<u8>)> {
    let files = files.iter();
    files
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect()
}

#[test]
fn cifar_is_read_from_its_folder_and_the_folder_above() {
    let folder = cifar_folder();
    check_cifar(&load(&select("cifar10", folder.path()), 0).unwrap());
    let above = temporary();
    let inner = above.path().join("cifar-10-batches-bin");
    fs::create_dir(&inner).unwrap();
    for name in BATCHES {
        fs::copy(folder.path().join(name), inner.join(name)).unwrap();
    }
    check_cifar(&load(&select("cifar10", above.path()), 0).unwrap());
}

#[test]
fn cifar_is_read_from_its_archive_and_the_folder_that_holds_it() {
    let folder = temporary();
    let path = folder.path().join("cifar-10-binary.tar.gz");
    archive(&path, &borrowed(&whole_archive("cifar-10-batches-bin/")));
    check_cifar(&load(&select("cifar10", &path), 0).unwrap());
    check_cifar(&load(&select("cifar10", folder.path()), 0).unwrap());
}

#[test]
fn an_archive_that_would_leave_its_folder_leaves_nothing_anywhere() {
    let outer = temporary();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("cifar-10-binary.tar.gz");
    let hostile = |files: &mut Vec<(&str, Vec<u8>)>| {
        files.push(("../data_batch_1.bin", record(3, [1, 1, 1])));
        files.push(("/tmp/diabolo-hostile/test_batch.bin", record(3, [1, 1, 1])));
        files.push(("cifar-10-batches-bin/../../escaped", vec![1]));
    };
    // Beside the real ones they are passed over.
    let whole = whole_archive("cifar-10-batches-bin/");
    let mut files = borrowed(&whole);
    hostile(&mut files);
    archive(&path, &files);
    check_cifar(&load(&select("cifar10", &path), 0).unwrap());
    // In their place they are missing.
    let mut files = borrowed(&whole)[1..].to_vec();
    hostile(&mut files);
    archive(&path, &files);
    assert_has(
        &failure(&select("cifar10", &path)),
        &["cifar-10-binary.tar.gz", "lacks data_batch_1.bin"],
    );
    let names = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!((names(outer.path()), names(&folder)), (1, 1));
    assert!(!Path::new("/tmp/diabolo-hostile").exists());
}

#[test]
fn a_link_in_place_of_a_batch_is_refused() {
    let folder = temporary();
    let path = folder.path().join("links.tar");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    let name = "cifar-10-batches-bin/data_batch_1.bin";
    builder
        .append_link(&mut header, name, "/etc/passwd")
        .unwrap();
    fs::write(&path, builder.into_inner().unwrap()).unwrap();
    assert_has(
        &failure(&select("cifar10", &path)),
        &["links.tar", "data_batch_1.bin is no plain file", "Symlink"],
    );
}

#[test]
fn an_archive_that_is_cut_or_is_none_is_an_error() {
    let folder = temporary();
    let path = folder.path().join("cut.tar.gz");
    archive(&path, &borrowed(&whole_archive("")));
    let whole = fs::read(&path).unwrap();
    check_cifar(&load(&select("cifar10", &path), 0).unwrap());
    for length in [whole.len() - 9, whole.len() / 2, 20, 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_has(&failure(&select("cifar10", &path)), &["cut.tar.gz"]);
    }
    fs::write(&path, vec![b'x'; 5000]).unwrap();
    assert_has(
        &failure(&select("cifar10", &path)),
        &["cut.tar.gz", "tar archive"],
    );
    let twice = [("test_batch.bin", batch(5)), ("test_batch.bin", batch(5))];
    archive(&path, &twice);
    assert_has(
        &failure(&select("cifar10", &path)),
        &["test_batch.bin is in it twice"],
    );
}

#[test]
fn cifar_files_that_are_wrong_are_errors_that_name_them() {
    let folder = cifar_folder();
    let selection = select("cifar10", folder.path());
    let write = |bytes: &[u8]| fs::write(folder.path().join("data_batch_3.bin"), bytes).unwrap();
    write(&vec![0; 3074]);
    assert_has(
        &failure(&selection),
        &["data_batch_3.bin", "3074 bytes", "multiple of 3073"],
    );
    write(&[]);
    assert_has(
        &failure(&selection),
        &["data_batch_3.bin", "0 bytes", "at least one"],
    );
    write(&[record(1, [0; 3]), record(10, [0; 3])].concat());
    assert_has(
        &failure(&selection),
        &["data_batch_3.bin", "label 10 at index 1", "below 10"],
    );
    fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
    assert_has(
        &failure(&selection),
        &["lacks data_batch_3.bin", "six files"],
    );
}

#[test]
fn the_cached_copy_of_cifar_must_be_whole() {
    let cache = temporary();
    let failure = || {
        let selection = Selection::named("cifar10");
        message(load_from(&selection, 0, Some(cache.path())))
    };
    assert_has(
        &failure(),
        &[
            "CIFAR-10 is not on this machine",
            "diabolo data fetch cifar10",
        ],
    );
    let folder = cache.path().join("cifar10");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("cifar-10-binary.tar.gz");
    archive(&path, &borrowed(&whole_archive("cifar-10-batches-bin/")));
    assert_has(&failure(), &["data_batch_1.bin", "6146 bytes", "30730000"]);
}

// Fashion-MNIST

#[test]
fn fashion_mnist_loads_from_this_machine() {
    let cache = temporary();
    let data = match load_from(&Selection::named("fashion-mnist"), 0, Some(cache.path())) {
        Err(DataError::Absent { .. }) => {
            eprintln!("skipped: no copy of Fashion-MNIST on this machine");
            return;
        }
        data => data.unwrap(),
    };
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (60_000, 10_000, 10)
    );
    assert_eq!(data.train.shape(), shape(28, 28, 1));
    assert_eq!(data.train_labels[..5], [9, 0, 0, 3, 0]);
    assert_eq!(data.test_labels[..5], [9, 2, 1, 1, 6]);
}

#[test]
fn fashion_mnist_that_is_missing_or_another_set_is_an_error() {
    let folder = temporary();
    let selection = select("fashion-mnist", folder.path());
    assert_has(
        &failure(&selection),
        &[
            "Fashion-MNIST",
            "train-images-idx3-ubyte.gz",
            "diabolo data fetch fashion-mnist",
        ],
    );
    let mnist = temporary();
    write_mnist(mnist.path());
    assert_has(
        &failure(&select("fashion-mnist", mnist.path())),
        &[
            "train-images-idx3-ubyte.gz (unpacked)",
            "SHA-256 ba891046",
            "expected c59f468a",
        ],
    );
}

// Arrays

fn write_npy(path: &Path, descr: &str, shape: &str, elements: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = fs::File::create(path).unwrap();
    file.write_all(b"\x93NUMPY\x01\x00").unwrap();
    file.write_all(&(header.len() as u16).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(elements).unwrap();
}

#[test]
fn arrays_are_split_and_keep_their_labels() {
    let folder = temporary();
    let (images, labels) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    // Image i is of the colour (10 i, 0, 1), its label is i.
    let pixels: Vec<u8> = (0..20).flat_map(|i| [10 * i, 0, 1]).collect();
    write_npy(&images, "|u1", "(20, 1, 1, 3)", &pixels);
    let numbers: Vec<u8> = (0..20_i64).flat_map(i64::to_le_bytes).collect();
    write_npy(&labels, "<i8", "(20,)", &numbers);
    let unlabelled = select("npy", &images);
    let labelled = Selection {
        labels: Some(labels.clone()),
        test_part: Some(0.25),
        ..unlabelled.clone()
    };
    let data = load(&labelled, 3).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (15, 5, 20)
    );
    assert_eq!(data.train.shape(), shape(1, 1, 3));
    for (images, labels) in [
        (&data.train, &data.train_labels),
        (&data.test, &data.test_labels),
    ] {
        for (pixel, label) in bytes(images).chunks(3).zip(labels) {
            assert_eq!(pixel, [10 * label, 0, 1]);
        }
    }
    let data = load(&unlabelled, 3).unwrap();
    assert_eq!((data.train.count, data.test.count), (18, 2));
    assert!(!data.is_labelled());

    // The same files as a test set of their own: order is kept, the rest fits.
    let both = Selection {
        test_path: Some(images.clone()),
        test_labels: Some(labels.clone()),
        test_part: None,
        ..labelled.clone()
    };
    let data = load(&both, 3).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.test_labels[7]),
        (20, 20, 7)
    );
    write_npy(&labels, "<i8", "(19,)", &numbers[..19 * 8]);
    assert_has(&failure(&labelled), &["y.npy", "20 images but 19 labels"]);
    write_npy(&labels, "<i4", "(1,)", &300_i32.to_le_bytes());
    assert_has(&failure(&labelled), &["y.npy", "label 300", "0 to 255"]);
}

#[test]
fn idx_files_are_arrays_too_and_parts_must_fit() {
    let mnist = temporary();
    write_mnist(mnist.path());
    let images = mnist.path().join("t10k-images-idx3-ubyte.gz");
    let selection = Selection {
        labels: Some(mnist.path().join("t10k-labels-idx1-ubyte.gz")),
        train_images: Some(100),
        ..select("npy", &images)
    };
    let data = load(&selection, 0).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (100, 1000, 10)
    );
    let folder = temporary();
    let other = folder.path().join("other.npy");
    write_npy(&other, "|u1", "(1, 2, 2)", &[9; 4]);
    let mismatched = Selection {
        test_path: Some(other),
        ..select("npy", &images)
    };
    assert_has(&failure(&mismatched), &["28×28×1", "2×2×1"]);
}

#[test]
fn a_selection_that_makes_no_sense_is_refused_before_any_file_is_read() {
    let absent = PathBuf::from("/absent");
    let selection = Selection {
        test_labels: Some(absent.clone()),
        ..select("npy", &absent)
    };
    assert_has(
        &failure(&selection),
        &["data.test_labels", "data.test_path"],
    );
    let selection = Selection {
        test_path: Some(absent.clone()),
        test_part: Some(0.5),
        ..select("npy", &absent)
    };
    assert_has(
        &failure(&selection),
        &["data.test_part = 0.5", "whole test set"],
    );
    assert_has(
        &failure(&Selection::named("emnist")),
        &["emnist", "fashion-mnist"],
    );
}
