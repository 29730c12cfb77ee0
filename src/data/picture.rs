//! One picture, PNG or JPEG, as bytes of grey or of red, green and blue.
//!
//! What a file holds decides how it is read, not its name. A picture is read only if nothing of it
//! would be lost unsaid: 16-bit and CMYK files are refused, and so is an alpha channel with any
//! pixel that is not fully opaque, because what lies under it is not in the file. The orientation
//! that cameras note is applied; colour profiles are not.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{Colour, DataError};

/// Most bytes that a picture may decode to: a small file can claim any size.
const MAX_DECODED: u64 = 1 << 29;

const PNG: &[u8] = b"\x89PNG";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// A decoded picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// `height * width * channels` values, the channel running fastest.
    pub pixels: Vec<u8>,
}

/// Whether a file's name ends like that of a picture.
pub fn is_named(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ["png", "jpg", "jpeg"].iter().any(|known| ending == *known))
}

/// Whether a file begins like a picture.
pub fn is_picture(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(4).read_to_end(&mut start));
    read.is_ok() && format(&start).is_some()
}

fn format(start: &[u8]) -> Option<ImageFormat> {
    match start {
        _ if start.starts_with(PNG) => Some(ImageFormat::Png),
        _ if start.starts_with(JPEG) => Some(ImageFormat::Jpeg),
        _ => None,
    }
}

/// Reads a picture, converts it to `colour`, and resizes it to `[height, width]` if they are given
/// (bicubic, with the filter widened when shrinking; proportions are not kept).
///
/// # Errors
///
/// [`DataError::Picture`] if the file is no PNG or JPEG, cut short or damaged, too large, of 16 bits
/// or CMYK, or has a pixel that is not opaque; [`DataError::Read`] if it cannot be read at all.
pub fn read(path: &Path, colour: Colour, size: Option<[usize; 2]>) -> Result<Picture, DataError> {
    let bytes = fs::read(path).map_err(|source| DataError::Read {
        origin: path.display().to_string(),
        source,
    })?;
    let picture = decode(&bytes).map_err(|problem| DataError::Picture {
        path: path.to_owned(),
        problem,
    })?;
    Ok(match colour {
        Colour::Grey => sized(picture.into_luma8(), size),
        Colour::Rgb => sized(picture.into_rgb8(), size),
    })
}

/// Resizes if asked to.
fn sized<P>(image: image::ImageBuffer<P, Vec<u8>>, size: Option<[usize; 2]>) -> Picture
where
    P: image::Pixel<Subpixel = u8> + 'static,
{
    let [height, width] = size.unwrap_or([image.height() as usize, image.width() as usize]);
    let fits = [image.height() as usize, image.width() as usize] == [height, width];
    let image = match fits {
        true => image,
        false => imageops::resize(&image, width as u32, height as u32, FilterType::CatmullRom),
    };
    Picture {
        height,
        width,
        pixels: image.into_raw(),
    }
}

/// Decodes a file's bytes; an error says what is wrong and what to do.
fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let Some(format) = format(bytes) else {
        let start = bytes[..bytes.len().min(8)].escape_ascii();
        return Err(format!(
            "neither a PNG nor a JPEG file: it starts with \"{start}\"; convert it, or remove it"
        ));
    };
    if format == ImageFormat::Jpeg {
        check_jpeg(bytes)?;
    }
    let damaged = |error: ImageError| {
        format!("cannot be decoded as {format:?}: {error}; save it again, or remove it")
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let ((width, height), kind) = (decoder.dimensions(), decoder.color_type());
    if width == 0 || height == 0 {
        return Err("has no pixels; save it again, or remove it".to_owned());
    }
    if decoder.total_bytes() > MAX_DECODED {
        return Err(format!(
            "claims {height} × {width} pixels (height × width), over the limit of {MAX_DECODED} \
             bytes; make it smaller, or remove it"
        ));
    }
    if !matches!(
        kind,
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8
    ) {
        return Err(format!(
            "has pixels of type {kind:?}, expected 8 bits a channel; save it with 8 bits"
        ));
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    opaque(image)
}

/// The image without its alpha channel, if that says nothing.
fn opaque(image: DynamicImage) -> Result<DynamicImage, String> {
    let see_through = |(index, alpha): (usize, u8)| (alpha != 255).then_some((index, alpha));
    let alphas: Vec<u8> = match &image {
        DynamicImage::ImageLumaA8(image) => image.pixels().map(|pixel| pixel.0[1]).collect(),
        DynamicImage::ImageRgba8(image) => image.pixels().map(|pixel| pixel.0[3]).collect(),
        _ => return Ok(image),
    };
    match alphas.into_iter().enumerate().find_map(see_through) {
        None => Ok(image),
        Some((index, alpha)) => {
            let width = image.width() as usize;
            let (row, column) = (index / width, index % width);
            Err(format!(
                "is transparent: alpha {alpha} of 255 in row {row}, column {column} (from 0); \
                 save it on a background, without an alpha channel"
            ))
        }
    }
}

/// Walks a JPEG file's segments. The decoder is lenient: it fills what is missing with grey and
/// turns CMYK into some RGB, which a data set should not hold unseen.
fn check_jpeg(bytes: &[u8]) -> Result<(), String> {
    let cut = || {
        let length = bytes.len();
        format!(
            "is cut short: its {length} bytes have no end-of-image marker; save it again, or \
             remove it"
        )
    };
    let byte = |at: usize| bytes.get(at).copied().ok_or_else(cut);
    let mut at = 2;
    loop {
        // A marker is any number of 0xff and a byte that is neither that nor 0, which stuffs data.
        while byte(at)? != 0xff {
            at += 1;
        }
        while byte(at)? == 0xff {
            at += 1;
        }
        let marker = byte(at)?;
        at += 1;
        match marker {
            0xd9 => return Ok(()),
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            // Start of frame: length, precision, height, width, number of components.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                let (precision, components) = (byte(at + 2)?, byte(at + 7)?);
                if components == 4 {
                    return Err(
                        "has four colour components (CMYK or YCCK), expected grey or RGB; \
                         convert it to RGB"
                            .to_owned(),
                    );
                }
                if precision != 8 {
                    return Err(format!(
                        "has {precision} bits a channel, expected 8; save it with 8 bits"
                    ));
                }
            }
            _ => {}
        }
        at += usize::from(u16::from_be_bytes([byte(at)?, byte(at + 1)?]));
    }
}
