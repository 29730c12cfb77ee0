//! Folders of pictures as data sets: pictures made here, whole, broken and unfit.

use std::fs;

use crate::common::sets::{assert_has, bytes, failure, message, save, select, shape, temporary};
use diabolo::data::Range;
use diabolo::data::{Colour, Selection, load};
use diabolo::data::{Dataset, folder, npy};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};

#[test]
fn sub_folders_are_classes_in_the_order_of_their_names() {
    let folder = temporary();
    for (class, value) in [("cat", 10), ("ant", 20), ("bee", 30)] {
        for index in 0..10 {
            let path = folder.path().join(format!("{class}/deeper/{index}.PNG"));
            save(path, 2, 3, [value, 1, 2]);
        }
    }
    fs::write(folder.path().join("README"), "not a picture").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    save(folder.path().join(".hidden/x.png"), 5, 5, [0; 3]);
    let selection = select("images", folder.path());
    let data = load(&selection, 1).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (27, 3, 3)
    );
    assert_eq!(data.train.shape(), shape(2, 3, 3));
    for (images, labels) in [
        (&data.train, &data.train_labels),
        (&data.test, &data.test_labels),
    ] {
        for (image, &label) in bytes(images).chunks(18).zip(labels) {
            assert_eq!(
                image[..3],
                [[20, 1, 2], [30, 1, 2], [10, 1, 2]][usize::from(label)]
            );
        }
    }
    // The same seed gives the same split, another gives another, and limits cut a shuffled list.
    assert_eq!(load(&selection, 1).unwrap(), data);
    assert_ne!(load(&selection, 2).unwrap().train_labels, data.train_labels);
    let few = Selection {
        train_images: Some(9),
        test_images: Some(1),
        ..selection
    };
    let few = load(&few, 1).unwrap();
    assert_eq!((few.train.count, few.test.count, few.classes), (9, 1, 3));
    assert_eq!(few.train_labels, data.train_labels[..9]);
}

#[test]
fn pictures_without_sub_folders_are_unlabelled() {
    let folder = temporary();
    for index in 0..4 {
        save(
            folder.path().join(format!("{index}.jpg")),
            8,
            8,
            [40 * index; 3],
        );
    }
    let selection = Selection {
        colour: Some(Colour::Grey),
        test_part: Some(0.5),
        ..select("images", folder.path())
    };
    let data = load(&selection, 0).unwrap();
    assert!(!data.is_labelled() && data.train_labels.is_empty());
    assert_eq!((data.train.count, data.test.count), (2, 2));
    assert_eq!(data.train.shape(), shape(8, 8, 1));
    let mut means: Vec<u8> = [&data.train, &data.test].map(bytes).concat();
    means = means.into_iter().step_by(64).collect();
    means.sort_unstable();
    for (mean, expected) in means.into_iter().zip([0, 40, 80, 120]) {
        assert!(
            mean.abs_diff(expected) <= 2,
            "JPEG keeps a flat grey: {mean}"
        );
    }
}

#[test]
fn folders_train_and_test_are_the_two_parts() {
    let folder = temporary();
    for (name, value) in [("train/a/1", 1), ("train/b/1", 2), ("test/b/1", 3)] {
        save(folder.path().join(format!("{name}.png")), 1, 1, [value; 3]);
    }
    let selection = select("images", folder.path());
    let data = load(&selection, 0).unwrap();
    assert_eq!(
        (data.train.count, data.test_labels.as_slice()),
        (2, &[1][..])
    );
    assert_eq!(bytes(&data.test), [3, 3, 3]);
    let with_part = Selection {
        test_part: Some(0.1),
        ..selection
    };
    assert_has(
        &failure(&with_part),
        &["data.test_part = 0.1", "train and test"],
    );
    let given = Selection {
        test_path: Some(folder.path().join("test")),
        ..select("images", &folder.path().join("train"))
    };
    assert_eq!(
        load(&given, 0).unwrap(),
        Dataset {
            name: "train".into(),
            ..data
        }
    );
}

#[test]
fn pictures_of_mixed_sizes_are_an_error_until_a_size_is_given() {
    let folder = temporary();
    save(folder.path().join("a.png"), 4, 6, [9; 3]);
    save(folder.path().join("b.png"), 40, 60, [9; 3]);
    save(folder.path().join("c.jpg"), 3, 3, [9; 3]);
    let selection = select("images", folder.path());
    let text = failure(&selection);
    assert_has(&text, &["height × width", "`height` and `width`"]);
    let named = ["a.png is 4 × 6", "b.png is 40 × 60", "c.jpg is 3 × 3"];
    let named = named.iter().filter(|part| text.contains(**part)).count();
    assert_eq!(named, 2, "{text}");
    let sized = Selection {
        height: Some(5),
        width: Some(7),
        ..selection
    };
    let data = load(&sized, 0).unwrap();
    assert_eq!(data.train.shape(), shape(5, 7, 3));
    assert!(
        bytes(&data.train)
            .iter()
            .all(|value| value.abs_diff(9) <= 2)
    );
}

/// The failure of a folder with one good picture and this file.
fn failure_beside_a_good_one(name: &str, contents: &[u8]) -> String {
    let folder = temporary();
    save(folder.path().join("good.png"), 2, 2, [1; 3]);
    fs::write(folder.path().join(name), contents).unwrap();
    let text = failure(&select("images", folder.path()));
    assert_has(&text, &[name]);
    text
}

fn encoded(image: &image::DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture with some detail, so that a cut file lacks some.
fn noisy(format: ImageFormat) -> Vec<u8> {
    let pixel = |x: u32, y: u32| Rgb([(x * 37 + y * 91) as u8, (x * y) as u8, (x ^ y) as u8]);
    encoded(&RgbImage::from_fn(64, 64, pixel).into(), format)
}

#[test]
fn pictures_cut_anywhere_are_errors_that_name_the_file() {
    for (name, format) in [("x.png", ImageFormat::Png), ("x.jpg", ImageFormat::Jpeg)] {
        let whole = noisy(format);
        for length in [0, 3, 8, 30, whole.len() / 2, whole.len() - 200] {
            failure_beside_a_good_one(name, &whole[..length]);
        }
    }
    let jpeg = noisy(ImageFormat::Jpeg);
    let text = failure_beside_a_good_one("x.jpg", &jpeg[..jpeg.len() - 2]);
    assert_has(&text, &["cut short", "end-of-image"]);
}

#[test]
fn files_that_are_not_what_their_name_says_are_errors_or_read_as_what_they_are() {
    let text = failure_beside_a_good_one("x.png", b"hello, world");
    assert_has(&text, &["neither a PNG nor a JPEG", "hello, w"]);
    let folder = temporary();
    for name in ["a.png", "b.jpg"] {
        let grey = GrayImage::from_pixel(3, 2, Luma([7]));
        fs::write(
            folder.path().join(name),
            encoded(&grey.into(), ImageFormat::Png),
        )
        .unwrap();
    }
    let data = load(&select("images", folder.path()), 0).unwrap();
    assert_eq!(bytes(&data.train), [7; 18]);
}

#[test]
fn a_picture_that_claims_gigabytes_is_an_error() {
    // The size stands after the signature, the length and the name of the first chunk.
    let mut png = noisy(ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let checksum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    failure_beside_a_good_one("huge.png", &png);
    let mut jpeg = noisy(ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let text = failure_beside_a_good_one("huge.jpg", &jpeg);
    assert_has(&text, &["65535 × 65535", "over the limit"]);
}

/// The CRC-32 of PNG.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn cmyk_and_sixteen_bit_pictures_are_errors_that_say_so() {
    let mut jpeg = noisy(ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    // One more component: the length of the segment, their number, and the new one's entry.
    jpeg[frame + 3] += 3;
    jpeg[frame + 9] = 4;
    jpeg.splice(frame + 19..frame + 19, [4, 0x11, 0]);
    let text = failure_beside_a_good_one("x.jpg", &jpeg);
    assert_has(&text, &["CMYK", "convert it to RGB"]);

    let deep = image::DynamicImage::new_rgb16(2, 2);
    let text = failure_beside_a_good_one("x.png", &encoded(&deep, ImageFormat::Png));
    assert_has(&text, &["Rgb16", "expected 8 bits"]);
}

#[test]
fn alpha_is_dropped_only_where_it_says_nothing() {
    let mut image = RgbaImage::from_pixel(3, 2, Rgba([1, 2, 3, 255]));
    let folder = temporary();
    let path = folder.path().join("x.png");
    image.save(&path).unwrap();
    let (read, _) = folder::read_images(&path, None, Range::Clean).unwrap();
    assert_eq!(bytes(&read), [1, 2, 3].repeat(6));
    image.put_pixel(2, 1, Rgba([1, 2, 3, 254]));
    let text = failure_beside_a_good_one("x.png", &encoded(&image.into(), ImageFormat::Png));
    assert_has(&text, &["alpha 254", "row 1, column 2", "background"]);
}

#[test]
fn folders_without_a_data_set_are_errors_that_name_them() {
    let folder = temporary();
    let path = folder.path();
    let selection = select("images", path);
    assert_has(
        &failure(&selection),
        &["holds no pictures", path.to_str().unwrap(), ".jpeg"],
    );
    assert_has(
        &failure(&select("images", &path.join("no"))),
        &["no: is not a folder"],
    );
    save(path.join("a/1.png"), 1, 1, [0; 3]);
    assert_has(&failure(&selection), &["1 image(s), expected at least 2"]);
    save(path.join("loose.png"), 1, 1, [0; 3]);
    assert_has(
        &failure(&selection),
        &["loose.png", "in no class's folder", "`a`"],
    );
    let many = temporary();
    for class in 0..257 {
        save(many.path().join(format!("{class}/1.png")), 1, 1, [0; 3]);
    }
    assert_has(
        &failure(&select("images", many.path())),
        &["257 folders", "at most 256"],
    );
}

#[cfg(unix)]
#[test]
fn a_folder_that_links_to_itself_is_an_error() {
    let folder = temporary();
    save(folder.path().join("a/1.png"), 1, 1, [0; 3]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    assert_has(
        &failure(&select("images", folder.path())),
        &["loop", "cannot be walked"],
    );
}

#[test]
fn images_to_put_through_a_model_are_brought_to_its_shape() {
    let folder = temporary();
    let path = folder.path();
    save(path.join("b.png"), 4, 4, [200; 3]);
    save(path.join("a/c.jpg"), 6, 9, [200; 3]);
    let (images, files) = folder::read_images(path, Some(shape(2, 3, 1)), Range::Clean).unwrap();
    assert_eq!((images.count, images.shape()), (2, shape(2, 3, 1)));
    assert_eq!(files, [path.join("a/c.jpg"), path.join("b.png")]);
    assert!(bytes(&images).iter().all(|value| value.abs_diff(200) <= 2));
    let (images, files) = folder::read_images(&path.join("b.png"), None, Range::Clean).unwrap();
    assert_eq!((images.shape(), files.len()), (shape(4, 4, 3), 1));

    let array = path.join("x.npy");
    npy::write_matrix(&array, 2, 6, &[0.5; 12]).unwrap();
    let (images, files) = folder::read_images(&array, Some(shape(1, 2, 3)), Range::Clean).unwrap();
    assert_eq!((images.count, images.shape()), (2, shape(1, 2, 3)));
    assert_eq!(files, [&*array]);
    let error = message(folder::read_images(
        &array,
        Some(shape(2, 2, 3)),
        Range::Clean,
    ));
    assert_has(
        &error,
        &["x.npy", "1×6×1 = 6 values", "expected 2×2×3 = 12"],
    );
    let error = message(folder::read_images(
        &path.join("absent"),
        None,
        Range::Clean,
    ));
    assert_has(&error, &["absent", "check that the file exists"]);
}

#[test]
fn damaged_bytes_anywhere_never_panic() {
    let folder = temporary();
    let path = folder.path().join("x");
    let (mut state, mut read) = (1_u32, 0);
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let whole = noisy(format);
        for _ in 0..1000 {
            let mut bytes = whole.clone();
            for _ in 0..=random(4) {
                // Half of the damage falls on the headers.
                let end = [whole.len(), 700.min(whole.len())][random(2)];
                bytes[random(end)] = random(256) as u8;
            }
            fs::write(&path, &bytes).unwrap();
            let size = diabolo::data::picture::read(&path, Colour::Rgb, Some([4, 4]));
            read += usize::from(size.is_ok());
        }
    }
    assert!(read > 0, "a JPEG file survives some damage");
}
