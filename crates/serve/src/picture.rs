//! Pictures of requests: data URLs and, from hosts that are allowed, addresses; never files. With them the regions that
//! are asked about.

mod address;
mod fetch;
mod region;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use deem::Picture;
use deem_data::DataError;
use tokio::sync::Semaphore;

use crate::Options;
use crate::error::ApiError;
pub(crate) use fetch::Fetcher;
pub(crate) use region::Region;

/// A picture as a request names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// A data URL, or an address.
    pub url: String,
    /// The region that is asked about.
    pub region: Option<Region>,
    /// Field of the request, for errors.
    pub param: String,
}

/// Turns sources into pictures, within the limits of a server.
#[derive(Debug)]
pub(crate) struct Pictures {
    limits: Limits,
    max_pictures: usize,
    fetcher: Fetcher,
    /// Pictures are decoded by as many threads as there are cores, however many requests come.
    decoding: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes: usize,
    pixels: u64,
    padded: bool,
    cut_off: bool,
}

impl Pictures {
    pub fn new(options: &Options) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            limits: Limits {
                bytes: options.max_body,
                pixels: options.max_pixels,
                padded: options.padded,
                cut_off: options.cut_off,
            },
            max_pictures: options.max_pictures,
            fetcher: Fetcher::new(&options.allow_fetch, options.fetch_from_loopback),
            decoding: Arc::new(Semaphore::new(threads)),
        }
    }

    /// The pictures of a request, named `picture 1` and so on.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong; more than the limit.
    pub async fn all(&self, sources: Vec<Source>) -> Result<Vec<Picture>, ApiError> {
        if sources.len() > self.max_pictures {
            let most = self.max_pictures;
            let problem = format!("{} pictures, expected at most {most}", sources.len());
            return Err(ApiError::limit(
                &sources[most].param,
                problem,
                "--max-pictures",
            ));
        }
        let mut pictures = Vec::with_capacity(sources.len());
        let mut left = self.limits.pixels;
        for (index, source) in sources.into_iter().enumerate() {
            let picture = self
                .one(format!("picture {}", index + 1), source, left)
                .await?;
            let (width, height) = picture.1;
            left = left.saturating_sub(u64::from(width) * u64::from(height));
            pictures.push(picture.0);
        }
        Ok(pictures)
    }

    /// A picture, and the size that it came in.
    async fn one(
        &self,
        name: String,
        source: Source,
        left: u64,
    ) -> Result<(Picture, (u32, u32)), ApiError> {
        let bytes = match source.url.get(..5) {
            Some(scheme) if scheme.eq_ignore_ascii_case("data:") => None,
            _ => {
                let got = self.fetcher.get(&source.url, self.limits.bytes).await;
                Some(got.map_err(|problem| ApiError::field(&source.param, problem))?)
            }
        };
        let permit = self.decoding.clone().acquire_owned().await;
        let limits = self.limits;
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => from_data_url(&source.url)
                    .map_err(|problem| ApiError::field(&source.param, problem))?,
            };
            decode(&name, bytes, &source, limits, left)
        });
        read.await.map_err(|error| ApiError::internal(&error))?
    }
}

fn decode(
    name: &str,
    bytes: Vec<u8>,
    source: &Source,
    limits: Limits,
    left: u64,
) -> Result<(Picture, (u32, u32)), ApiError> {
    let picture = Picture::decode(name, bytes, left, limits.cut_off).map_err(|error| {
        let known = match &error {
            deem::Error::Data(DataError::ImageTooLarge { width, height, .. }) => {
                let most = limits.pixels;
                let problem = format!(
                    "{name} has {width}x{height} pixels, expected at most {most} for all pictures of a request"
                );
                ApiError::limit(&source.param, problem, "--max-megapixels")
            }
            _ => ApiError::from(error),
        };
        ApiError {
            param: Some(source.param.clone()),
            ..known
        }
    })?;
    let size = picture.pixels().dimensions();
    let picture = match &source.region {
        None => picture,
        Some(region) => {
            let mask = region.mask(name, size);
            let mask = mask.map_err(|(field, problem)| {
                ApiError::field(format!("{}.{field}", source.param), problem)
            })?;
            picture.with_region(mask)?
        }
    };
    let picture = if limits.padded {
        picture.padded()
    } else {
        picture
    };
    Ok((picture, size))
}

/// The bytes of `data:TYPE;base64,…`.
fn from_data_url(url: &str) -> Result<Vec<u8>, String> {
    let wrong = |what: &str| format!("expected `data:image/png;base64,…`, {what}");
    let rest = url
        .get(5..)
        .filter(|_| url[..5].eq_ignore_ascii_case("data:"));
    let rest = rest.ok_or_else(|| wrong("found another kind of address"))?;
    let (head, data) = rest
        .split_once(',')
        .ok_or_else(|| wrong("found no comma"))?;
    let encoded = head.rsplit_once(';').map(|(_, last)| last.trim());
    if !encoded.is_some_and(|last| last.eq_ignore_ascii_case("base64")) {
        return Err(wrong("found no `;base64` before the comma"));
    }
    let data = data.trim();
    let decoded = STANDARD
        .decode(data)
        .or_else(|_| STANDARD_NO_PAD.decode(data));
    let bytes = decoded.map_err(|error| wrong(&format!("found bad base64: {error}")))?;
    if bytes.is_empty() {
        return Err(wrong("found nothing after the comma"));
    }
    Ok(bytes)
}

/// A picture as a data URL in PNG.
pub(crate) fn data_url(picture: &image::RgbImage) -> Result<String, ApiError> {
    Ok(format!("data:image/png;base64,{}", png(picture)?))
}

/// A picture as PNG in base64.
pub(crate) fn png(picture: &image::RgbImage) -> Result<String, ApiError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, image::ImageFormat::Png);
    written.map_err(|error| ApiError::internal(&error))?;
    Ok(STANDARD.encode(bytes.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    fn source(url: String, region: Option<Region>) -> Source {
        Source {
            url,
            region,
            param: "messages[0].content[1]".into(),
        }
    }

    fn grey(width: u32, height: u32) -> String {
        data_url(&RgbImage::from_pixel(width, height, Rgb([9, 9, 9]))).unwrap()
    }

    async fn read(options: &Options, sources: Vec<Source>) -> Result<Vec<Picture>, ApiError> {
        Pictures::new(options).all(sources).await
    }

    #[tokio::test]
    async fn data_urls_are_read_and_padded() {
        let options = Options::default();
        let read_one = read(&options, vec![source(grey(4, 2), None)])
            .await
            .unwrap();
        assert_eq!(read_one[0].pixels().dimensions(), (4, 4));
        let crop = Options {
            padded: false,
            ..options.clone()
        };
        let cropped = read(&crop, vec![source(grey(4, 2), None)]).await.unwrap();
        assert_eq!(cropped[0].pixels().dimensions(), (4, 2));
        let boxed = Some(Region::Box([0.0, 0.0, 2.0, 2.0]));
        let region = read(&options, vec![source(grey(4, 2), boxed)])
            .await
            .unwrap();
        assert!(region[0].has_region());
    }

    #[tokio::test]
    async fn what_is_no_picture_is_named() {
        let not = STANDARD.encode("no picture");
        for (url, part) in [
            (format!("data:image/png;base64,{not}"), "picture 1"),
            ("data:image/png;base64,@@".into(), "bad base64"),
            ("data:image/png;base64,".into(), "nothing"),
            ("data:image/png,abc".into(), ";base64"),
            ("data:image/png".into(), "no comma"),
            ("file:///etc/passwd".into(), "file"),
            ("/etc/passwd".into(), "data:"),
            ("https://example.org/a.png".into(), "--allow-fetch"),
            (String::new(), "data:"),
        ] {
            let error = read(&Options::default(), vec![source(url.clone(), None)]).await;
            let error = error.unwrap_err();
            assert_eq!(error.status, 400, "{url}");
            assert!(error.message.contains(part), "{url}: {}", error.message);
            assert_eq!(
                error.param.as_deref(),
                Some("messages[0].content[1]"),
                "{url}"
            );
        }
    }

    #[tokio::test]
    async fn limits_are_named() {
        let options = Options {
            max_pictures: 2,
            max_pixels: 20,
            ..Options::default()
        };
        let sources = |count| vec![source(grey(4, 3), None); count];
        assert!(read(&options, sources(1)).await.is_ok());
        let pixels = read(&options, sources(2)).await.unwrap_err();
        assert!(
            pixels.message.contains("--max-megapixels"),
            "{}",
            pixels.message
        );
        assert!(pixels.message.contains("picture 2"), "{}", pixels.message);
        let many = read(&options, sources(3)).await.unwrap_err();
        assert!(many.message.contains("--max-pictures"), "{}", many.message);
        assert_eq!(many.code, Some("limit_exceeded"));
    }
}
