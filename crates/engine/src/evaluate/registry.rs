//! Benchmarks by name. A new one is its own file and one line in [`BenchmarkRegistry::standard`].

use std::sync::Arc;

use super::{
    Benchmark, Captions, Gqa, MmBench, Mmvp, MmvpVlm, Pope, Region, Retrieval, RobustVqa,
    TextToImage, VisDial, Vqa, ZeroShot,
};
use crate::EngineError;

/// Benchmarks by name, in the order in which they are shown.
#[derive(Clone, Default)]
pub struct BenchmarkRegistry {
    benchmarks: Vec<Arc<dyn Benchmark>>,
}

impl BenchmarkRegistry {
    /// The benchmarks that come with deem, asked as they were published.
    pub fn standard() -> Self {
        Self::default()
            .with(RobustVqa)
            .with(Pope)
            .with(Mmvp::default())
            .with(Region::OWN)
            .with(MmvpVlm)
            .with(ZeroShot::default())
            .with(Retrieval::default())
            .with(Vqa::V2)
            .with(Vqa::OK)
            .with(Vqa::VIZWIZ)
            .with(Vqa::TEXT)
            .with(Gqa)
            .with(VisDial)
            .with(Captions::COCO)
            .with(Captions::NOCAPS)
            .with(Captions::FLICKR30K)
            .with(Captions::PARAGRAPHS)
            .with(Region::REFCOCO)
            .with(Region::REFCOCO_PLUS)
            .with(Region::REFCOCOG)
            .with(MmBench)
            .with(TextToImage::COCO)
            .with(TextToImage::NARRATIVES)
    }

    /// As this one, with one more benchmark (or another one of that name, in its place).
    #[must_use]
    pub fn with(self, benchmark: impl Benchmark + 'static) -> Self {
        self.with_shared(Arc::new(benchmark))
    }

    /// As [`Self::with`].
    #[must_use]
    pub fn with_shared(mut self, benchmark: Arc<dyn Benchmark>) -> Self {
        let mut known = self.benchmarks.iter_mut();
        match known.find(|b| b.name() == benchmark.name()) {
            Some(place) => *place = benchmark,
            None => self.benchmarks.push(benchmark),
        }
        self
    }

    /// A benchmark by its name, in which `-` and `_` are the same.
    ///
    /// # Errors
    /// `UnknownBenchmark`, with the names that are known.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Benchmark>, EngineError> {
        let plain = name.replace('-', "_");
        let found = self.benchmarks.iter().find(|b| b.name() == plain);
        found.ok_or_else(|| EngineError::UnknownBenchmark {
            name: name.to_owned(),
            known: self.iter().map(|b| b.name().replace('_', "-")).collect(),
        })
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Benchmark>> {
        self.benchmarks.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_either_spelling_and_replaced_in_place() {
        let registry = BenchmarkRegistry::standard().with(Mmvp::by_likelihood());
        let names: Vec<&str> = registry.iter().map(|b| b.name()).collect();
        assert_eq!(names[..4], ["robust_vqa", "pope", "mmvp", "region"]);
        assert_eq!(registry.get("robust-vqa").unwrap().title(), "RobustVQA");
        assert_eq!(registry.get("mmvp").unwrap().answering().written, None);
        let error = registry.get("nonsense").err().unwrap().to_string();
        assert!(error.contains("\"nonsense\"") && error.contains("robust-vqa, pope"));
    }
}
