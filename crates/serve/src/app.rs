//! What all requests share.

use std::sync::atomic::AtomicBool;

use axum::http::StatusCode;

use crate::api::now;
use crate::error::ApiError;
use crate::keys::Keys;
use crate::limit::Limiter;
use crate::picture::Pictures;
use crate::{Handle, Metrics, Options, ServeError};

/// A model that answers.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name in requests.
    pub id: String,
    /// The way to its threads.
    pub handle: Handle,
    /// Side of the pictures that it draws, in pixels.
    pub drawing_size: usize,
    /// Tokens that it reads, prompt and answer together.
    pub context: usize,
}

/// A server's state.
#[derive(Debug)]
pub(crate) struct App {
    pub options: Options,
    /// The default first.
    pub models: Vec<Served>,
    pub keys: Option<Keys>,
    pub limiter: Limiter,
    pub metrics: Metrics,
    pub pictures: Pictures,
    /// Whether it is about to end.
    pub closing: AtomicBool,
    /// When it began.
    pub created: u64,
}

impl App {
    pub fn new(
        options: Options,
        models: Vec<Served>,
        metrics: Metrics,
    ) -> Result<Self, ServeError> {
        options.check()?;
        if models.is_empty() {
            return Err(ServeError::NoModel);
        }
        let keys = options.keys.as_deref().map(Keys::read).transpose()?;
        Ok(Self {
            keys,
            limiter: Limiter::new(options.rate),
            pictures: Pictures::new(&options),
            closing: AtomicBool::new(false),
            created: now(),
            models,
            metrics,
            options,
        })
    }

    /// The model of this name; without one, the default.
    pub fn model(&self, name: Option<&str>) -> Result<&Served, ApiError> {
        let Some(name) = name else {
            return Ok(&self.models[0]);
        };
        let found = self.models.iter().find(|model| model.id == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.models.iter().map(|model| model.id.as_str()).collect();
            let known = known.join(", ");
            ApiError {
                param: Some("model".into()),
                ..ApiError::new(
                    StatusCode::NOT_FOUND,
                    format!("model {name:?}: no such model here; there is {known}"),
                )
                .code("model_not_found")
            }
        })
    }
}
