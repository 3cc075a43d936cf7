//! How often a client may ask: a bucket of tokens for each key or address, which fills at the allowed rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Clients that are remembered; beyond, those with full buckets are forgotten, which changes nothing for them.
const REMEMBERED: usize = 10_000;

/// What sums of seconds may be off by.
const ROUNDING: f64 = 1e-6;

/// Requests a minute for each client.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_minute: Option<u32>,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    pub fn new(per_minute: Option<u32>) -> Self {
        Self {
            per_minute,
            buckets: Mutex::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// Seconds after which the client may ask again.
    pub fn take(&self, client: &str, now: Instant) -> Result<(), u64> {
        let Some(per_minute) = self.per_minute else {
            return Ok(());
        };
        let most = f64::from(per_minute);
        let each_second = most / 60.0;
        let fill = |bucket: &Bucket| {
            let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
            (bucket.tokens + passed * each_second).min(most)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| fill(bucket) < most);
        }
        let bucket = buckets.entry(client.to_owned()).or_insert(Bucket {
            tokens: most,
            filled: now,
        });
        bucket.tokens = fill(bucket);
        bucket.filled = now;
        if bucket.tokens < 1.0 - ROUNDING {
            let seconds = (1.0 - bucket.tokens) / each_second;
            return Err((seconds - ROUNDING).ceil() as u64);
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_minutes_worth_at_once_and_then_at_the_rate() {
        let limiter = Limiter::new(Some(2));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limiter.take("a", start), Ok(()));
        assert_eq!(limiter.take("a", start), Ok(()));
        assert_eq!(limiter.take("a", start), Err(30));
        assert_eq!(limiter.take("b", start), Ok(()), "another client");
        assert_eq!(limiter.take("a", after(20)), Err(10));
        assert_eq!(limiter.take("a", after(30)), Ok(()));
        assert_eq!(limiter.take("a", after(31)), Err(29));
    }

    #[test]
    fn clients_that_ask_no_more_are_forgotten() {
        let limiter = Limiter::new(Some(60));
        let start = Instant::now();
        for client in 0..REMEMBERED {
            limiter.take(&client.to_string(), start).unwrap();
        }
        limiter
            .take("last", start + Duration::from_secs(60))
            .unwrap();
        assert_eq!(limiter.buckets.lock().unwrap().len(), 1);
    }

    #[test]
    fn no_rate_no_limit() {
        let limiter = Limiter::new(None);
        let now = Instant::now();
        assert!((0..1000).all(|_| limiter.take("a", now).is_ok()));
        assert!(limiter.buckets.lock().unwrap().is_empty());
    }
}
