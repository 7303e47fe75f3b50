//! QR codes in pictures (ISO/IEC 18004). Pictures cost more than all other looking together, so their number and pixels
//! are counted, and shapes that hold no code are not unpacked.

use super::{Opener, Trait};
use crate::limits::*;
use image::{ImageReader, Limits};
use std::io::Cursor;

/// What of the allowance is left for one message.
#[derive(Debug)]
pub(super) struct Allowance {
    pictures: usize,
    pixels: u64,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance { pictures: CODE_PICTURES_MAX, pixels: CODE_PIXELS_MAX }
    }
}

impl Allowance {
    pub(super) fn may_search(&self, width: u32, height: u32) -> bool {
        let fits = |side: u32| (CODE_SIDE_PIXELS_MIN..=CODE_SIDE_PIXELS_MAX).contains(&side);
        fits(width) && fits(height) && self.pictures > 0 && u64::from(width) * u64::from(height) <= self.pixels
    }
    fn spend(&mut self, width: u32, height: u32) {
        self.pictures -= 1;
        self.pixels -= u64::from(width) * u64::from(height);
    }
}

/// PNG, JPEG and GIF (its first frame). A picture that is too large or broken is passed over: a reader's phone reads a
/// code only where the reader's program shows one.
pub(super) fn search_picture(opener: &mut Opener<'_>, file: usize, octets: &[u8]) {
    let Some((width, height)) = dimensions(octets).filter(|(w, h)| opener.codes.may_search(*w, *h)) else {
        return;
    };
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(CODE_SIDE_PIXELS_MAX);
    limits.max_image_height = Some(CODE_SIDE_PIXELS_MAX);
    limits.max_alloc = Some(8 * CODE_PIXELS_MAX);
    let Ok(mut reader) = ImageReader::new(Cursor::new(octets)).with_guessed_format() else { return };
    reader.limits(limits);
    let Ok(picture) = reader.decode() else { return };
    // clear pixels are shown on white
    let grey = match picture.color().has_alpha() {
        false => picture.into_luma8(),
        true => {
            let mut alpha = picture.into_luma_alpha8();
            alpha.pixels_mut().for_each(|p| p.0[0] = 255 - ((255 - u16::from(p.0[0])) * u16::from(p.0[1]) / 255) as u8);
            image::DynamicImage::ImageLumaA8(alpha).into_luma8()
        }
    };
    search_grey(opener, file, width.min(grey.width()), height.min(grey.height()), |x, y| {
        grey.get_pixel(x as u32, y as u32).0[0]
    });
}

fn dimensions(octets: &[u8]) -> Option<(u32, u32)> {
    ImageReader::new(Cursor::new(octets)).with_guessed_format().ok()?.into_dimensions().ok()
}

pub(super) fn search_grey(
    opener: &mut Opener<'_>,
    file: usize,
    width: u32,
    height: u32,
    grey: impl Fn(usize, usize) -> u8,
) {
    opener.codes.spend(width, height);
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(width as usize, height as usize, grey);
    let said: Vec<String> =
        prepared.detect_grids().iter().filter_map(|g| g.decode().ok()).map(|(_, text)| text).collect();
    let file = &mut opener.files[file];
    for text in said.into_iter().filter(|t| !t.is_empty()) {
        if text.contains("://") && !file.urls.contains(&text) {
            file.urls.push(text.clone());
        }
        if !file.traits.contains(&Trait::Code(text.clone())) {
            file.traits.push(Trait::Code(text));
        }
    }
}
