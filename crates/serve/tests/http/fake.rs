//! A server on this machine, whose model is a thread that answers with fixed events.

use std::sync::{Arc, Mutex};

use deem_data::storage::choose_tls_provider;
use deem_serve::{
    EndReason, Event, Handle, Job, Likely, Metrics, Options, Served, Submitted, TokenSaid, Usage,
    serve,
};
use image::RgbImage;
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};
use tokio::task::JoinHandle;

/// A server, until it is dropped or ended.
pub struct Fake {
    pub url: String,
    /// The jobs that arrived.
    pub jobs: Arc<Mutex<Vec<Job>>>,
    pub client: reqwest::Client,
    pub metrics: Metrics,
    end: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// What the model does with a job.
pub type Worker = fn(Submitted);

impl Fake {
    /// With this worker, in a thread of its own.
    pub async fn with(options: Options, worker: Worker) -> Self {
        let (handle, arriving) = Handle::new(options.queue);
        let jobs = Arc::new(Mutex::new(Vec::new()));
        let seen = jobs.clone();
        std::thread::spawn(move || work(arriving, &seen, worker));
        let other = Handle::new(1).0;
        let served = |id: &str, handle| Served {
            id: id.into(),
            handle,
            drawing_size: 48,
            context: 128,
        };
        Self::of(
            options,
            vec![served("fake", handle), served("org/gone", other)],
            jobs,
        )
        .await
    }

    /// With the worker that answers everything.
    pub async fn start(options: Options) -> Self {
        Self::with(options, answer).await
    }

    /// With these models.
    pub async fn of(options: Options, models: Vec<Served>, jobs: Arc<Mutex<Vec<Job>>>) -> Self {
        let options = Options { port: 0, ..options };
        choose_tls_provider();
        let metrics = Metrics::new(&models[0].id);
        let (told, address) = oneshot::channel();
        let (end, ending) = oneshot::channel();
        let counted = metrics.clone();
        let running = tokio::spawn(async move {
            let listening = |address| told.send(address).unwrap();
            let shutdown = async { drop(ending.await) };
            serve(options, models, counted, listening, shutdown)
                .await
                .unwrap();
        });
        let port = address.await.unwrap().port();
        Self {
            url: format!("http://127.0.0.1:{port}"),
            jobs,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            metrics,
            end: Some(end),
            running: Some(running),
        }
    }

    /// Ends the server in order.
    pub async fn end(mut self) {
        drop(self.end.take());
        self.running.take().unwrap().await.unwrap();
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> reqwest::Response {
        let request = self.client.post(format!("{}{path}", self.url));
        let request = request.header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }

    /// Status and JSON.
    pub async fn ask(&self, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        json(self.post(path, body).await).await
    }

    pub fn last_job(&self) -> Job {
        self.jobs.lock().unwrap().last().unwrap().clone()
    }
}

pub async fn json(response: reqwest::Response) -> (u16, serde_json::Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}, no JSON: {text}"));
    (status, value)
}

/// A plain picture as a data URL.
pub fn picture(width: u32, height: u32) -> String {
    use base64::Engine;
    let mut bytes = std::io::Cursor::new(Vec::new());
    let pixels = RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30]));
    pixels
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(bytes.into_inner());
    format!("data:image/png;base64,{data}")
}

fn work(mut arriving: UnboundedReceiver<Submitted>, seen: &Mutex<Vec<Job>>, worker: Worker) {
    while let Some(submitted) = arriving.blocking_recv() {
        seen.lock().unwrap().push(submitted.job.clone());
        worker(submitted);
    }
}

/// Says "hello world" as often as it is asked to, draws black, and finds each answer half as probable as the last.
pub fn answer(submitted: Submitted) {
    let tell = |event| drop(submitted.events.send(event));
    let draw = |choice| {
        tell(Event::Picture {
            choice,
            picture: RgbImage::new(48, 48),
        });
    };
    let say = |choices, top: Option<usize>, drawing| {
        for choice in 0..choices {
            for text in ["hello", " world"] {
                let token = TokenSaid {
                    text: text.into(),
                    log_probability: -0.5,
                    top: vec![(text.into(), -0.5); top.unwrap_or(0).min(1)],
                };
                tell(Event::Text {
                    choice,
                    text: text.into(),
                    tokens: top.map(|_| token).into_iter().collect(),
                });
            }
            if drawing {
                draw(choice);
            }
            let reason = EndReason::Stop;
            tell(Event::End { choice, reason });
        }
    };
    match &submitted.job {
        Job::Answer(job) => say(job.choice.n, job.choice.options.top, job.drawing.is_some()),
        Job::Read(job) => say(job.choice.n, job.choice.options.top, false),
        Job::Draw(job) => (0..job.n).for_each(draw),
        Job::Restore(_) => draw(0),
        Job::Score(job) => {
            let scored = |index: usize| Likely {
                log_probability: -1.0 - index as f64 * std::f64::consts::LN_2,
                tokens: 2,
            };
            tell(Event::Scores((0..job.answers.len()).map(scored).collect()));
        }
    }
    tell(Event::Done(Usage {
        prompt: 5,
        cached: 1,
        completion: 2,
    }));
}
