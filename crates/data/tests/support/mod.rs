//! The built-in sources with pictures, all over one kind of feed.

use deem_data::source::Source;
use deem_data::world::SceneFeed;
use deem_data::world::source::{
    ClipSource, DiffusionSource, InstructConfig, InstructSource, InterleavedConfig,
    InterleavedSource, RegionSource,
};

/// Every source that draws, with captions of both kinds; `feed` makes a feed for a purpose.
pub fn picture_sources(feed: impl Fn(&'static str) -> SceneFeed) -> Vec<Box<dyn Source>> {
    let full = InterleavedConfig {
        full_captions: 0.5,
        ..InterleavedConfig::default()
    };
    vec![
        Box::new(ClipSource::new(feed("clip"))),
        Box::new(DiffusionSource::new(feed("diffusion"))),
        Box::new(InterleavedSource::new(feed("stage1"), full)),
        Box::new(InstructSource::new(
            feed("stage2"),
            InstructConfig::default(),
        )),
        Box::new(RegionSource::new(feed("stage3"))),
    ]
}
