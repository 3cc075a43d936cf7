//! The threads of a model: everybody is answered as if he were alone.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use deem::{
    AnswerOptions, Dialogue, End, Exchange, ImageOptions, Model, Open, Picture, Sampling,
    TextOptions,
};
use deem_serve::{
    AnswerJob, Choice, DrawJob, EndReason, Event, Events, Handle, Job, Metrics, ReadJob,
    RestoreJob, Schedule, ScoreJob, Usage,
};
use image::{Rgb, RgbImage};

fn model() -> Model {
    Open::preset("tiny").load().expect("the shipped preset")
}

/// Threads of a model, and the way to them.
struct Running {
    handle: Handle,
    metrics: Metrics,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn new(model: &Model, schedule: Schedule) -> Self {
        let (handle, arriving) = Handle::new(64);
        let metrics = Metrics::new("tiny");
        let threads = schedule.start(model, arriving, &metrics).unwrap();
        Self {
            handle,
            metrics,
            threads,
        }
    }

    fn submit(&self, job: Job) -> Events {
        self.handle.submit(job).unwrap()
    }

    /// Ends them; nothing may hang.
    fn end(self) -> String {
        drop(self.handle);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.metrics.text().unwrap()
    }
}

fn picture(shade: u8) -> Picture {
    let pixels = RgbImage::from_fn(96, 96, |x, y| {
        Rgb([shade, (2 * x) as u8, (255 - 2 * y) as u8])
    });
    Picture::new(format!("{shade}"), pixels)
}

fn dialogue(pictures: Vec<Picture>, question: &str) -> Dialogue {
    Dialogue {
        system: None,
        turns: vec![Exchange {
            pictures,
            ..Exchange::question(question)
        }],
    }
}

fn answer_options(max_tokens: usize) -> AnswerOptions {
    AnswerOptions {
        max_tokens: Some(max_tokens),
        ceiling: 100,
        min_tokens: 1,
        sampling: Sampling::Greedy,
        stop: Vec::new(),
        top: None,
    }
}

fn choice(max_tokens: usize) -> Choice {
    Choice {
        options: answer_options(max_tokens),
        n: 1,
    }
}

fn ask(dialogue: Dialogue, choice: Choice) -> Job {
    Job::Answer(AnswerJob {
        dialogue,
        choice,
        adapt: 0,
        drawing: None,
    })
}

/// What a job told: text, pictures and end of each answer, and its cost.
#[derive(Debug, Default)]
struct Told {
    texts: Vec<String>,
    pictures: Vec<RgbImage>,
    ends: Vec<Option<EndReason>>,
    tokens: Vec<deem::TokenSaid>,
    scores: Vec<f64>,
    usage: Usage,
}

fn told(mut events: Events, answers: usize) -> Told {
    let mut all = Told {
        texts: vec![String::new(); answers],
        ends: vec![None; answers],
        ..Told::default()
    };
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Text {
                choice,
                text,
                tokens,
            } => {
                all.texts[choice].push_str(&text);
                all.tokens.extend(tokens);
            }
            Event::Picture { picture, .. } => all.pictures.push(picture),
            Event::End { choice, reason } => all.ends[choice] = Some(reason),
            Event::Scores(scores) => {
                all.scores = scores.iter().map(|score| score.log_probability).collect();
            }
            Event::Done(usage) => {
                all.usage = usage;
                assert!(events.blocking_recv().is_none());
                return all;
            }
            Event::Failed(error) => panic!("{error}"),
        }
    }
    panic!("it ended without a word");
}

#[test]
fn answers_are_those_of_the_model_alone() {
    let model = model();
    let nucleus = |seed| Sampling::Nucleus {
        temperature: 2.0,
        top_p: 0.98,
        seed,
    };
    let questions = [
        (
            vec![picture(10)],
            "What color is the background?",
            Sampling::Greedy,
        ),
        (
            vec![picture(200), picture(90)],
            "How many cats are there?",
            nucleus(3),
        ),
        (Vec::new(), "Is there a dog?", nucleus(5)),
        (vec![picture(10)], "Is there a dog?", nucleus(8)),
    ];
    let running = Running::new(
        &model,
        Schedule {
            batch: 3,
            piece: 7,
            ..Schedule::default()
        },
    );
    let twice = questions.iter().chain(&questions);
    let asked: Vec<_> = twice
        .map(|(pictures, question, sampling)| {
            let mut how = choice(12);
            how.options.sampling = *sampling;
            let events = running.submit(ask(dialogue(pictures.clone(), question), how));
            (pictures, question, sampling, events)
        })
        .collect();
    let mut cached = 0;
    for (pictures, question, sampling, events) in asked {
        let found = told(events, 1);
        let options = TextOptions {
            sampling: *sampling,
            ..TextOptions::longest(12)
        };
        let expected = model.ask(question, pictures, &options).unwrap();
        assert_eq!(found.texts, [expected], "{question}");
        assert!(found.ends[0].is_some());
        assert!(found.usage.completion > 0 && found.usage.prompt > found.usage.cached);
        cached += found.usage.cached;
    }
    assert!(cached > 0, "the second round begins like the first");
    let metrics = running.end();
    let looked = "deem_encoded_pictures_total{model=\"tiny\"} 3";
    assert!(metrics.contains(looked), "{metrics}");
}

/// Tokens and their probabilities, to the last bit, of answers that share a batch, prefixes and pieces of prompts with
/// others, and of the same with nobody else.
#[test]
fn company_does_not_change_a_bit() {
    let model = model();
    let questions: Vec<_> = (0..12)
        .map(|index: u64| {
            let pictures = (0..index % 3).map(|which| picture((40 * index + 7 * which) as u8));
            let question = ["What color is it?", "How many cats are there?", "Why?"];
            let mut how = choice(5 + index as usize * 2);
            how.options.top = Some(3);
            how.options.min_tokens = 5;
            if index % 2 == 1 {
                how.options.sampling = Sampling::Nucleus {
                    temperature: 2.0,
                    top_p: 0.98,
                    seed: index,
                };
            }
            let question = question[index as usize % 4 % 3];
            ask(dialogue(pictures.collect(), question), how)
        })
        .collect();
    let alone = |job: &Job| {
        let nothing_kept = Schedule {
            batch: 1,
            piece: 1000,
            pictures: 0,
            prefixes: 0,
        };
        let running = Running::new(&model, nothing_kept);
        let found = told(running.submit(job.clone()), 1);
        running.end();
        found
    };
    let expected: Vec<Told> = questions.iter().map(alone).collect();
    let running = Running::new(
        &model,
        Schedule {
            batch: 8,
            piece: 5,
            ..Schedule::default()
        },
    );
    let twice = questions.iter().chain(&questions);
    let events: Vec<Events> = twice.map(|job| running.submit(job.clone())).collect();
    for (events, expected) in events.into_iter().zip(expected.iter().chain(&expected)) {
        let found = told(events, 1);
        assert!(found.tokens.len() >= 5);
        assert_eq!(
            (&found.texts, &found.tokens),
            (&expected.texts, &expected.tokens)
        );
    }
    running.end();
}

#[test]
fn several_answers_stop_texts_and_probabilities() {
    let model = model();
    let running = Running::new(&model, Schedule::default());
    let sampling = |seed| Sampling::Nucleus {
        temperature: 3.0,
        top_p: 1.0,
        seed,
    };
    let several = Choice {
        options: AnswerOptions {
            sampling: sampling(40),
            top: Some(2),
            ..answer_options(8)
        },
        n: 3,
    };
    let question = "What is this?";
    let found = told(
        running.submit(ask(dialogue(vec![picture(1)], question), several)),
        3,
    );
    for (seed, text) in (40..).zip(&found.texts) {
        let options = TextOptions {
            sampling: sampling(seed),
            ..TextOptions::longest(8)
        };
        assert_eq!(*text, model.ask(question, &[picture(1)], &options).unwrap());
    }
    assert!(
        found
            .tokens
            .iter()
            .all(|token| token.log_probability <= 0.0 && token.top.len() == 2)
    );
    assert!(
        found
            .tokens
            .iter()
            .all(|token| token.top[0].1 >= token.log_probability)
    );

    // Cut where a word of the answer begins.
    let whole = told(
        running.submit(Job::Read(ReadJob {
            text: "there is a".into(),
            choice: choice(10),
        })),
        1,
    );
    let words: Vec<&str> = whole.texts[0].split_whitespace().collect();
    let Some(word) = words.get(1).filter(|word| words[0] != **word) else {
        panic!("{words:?}: two different words are needed");
    };
    let mut stopped = choice(10);
    stopped.options.stop = vec!["never said".into(), (*word).to_owned()];
    let found = told(
        running.submit(Job::Read(ReadJob {
            text: "there is a".into(),
            choice: stopped,
        })),
        1,
    );
    let expected = &whole.texts[0][..whole.texts[0].find(word).unwrap()];
    assert_eq!(found.texts[0], expected);
    assert_eq!(found.ends, [Some(EndReason::Stop)]);
    running.end();
}

#[test]
fn other_work_and_its_errors() {
    let model = model();
    let running = Running::new(&model, Schedule::default());
    let options = ImageOptions {
        steps: 2,
        ..ImageOptions::default()
    };
    let draw = Job::Draw(DrawJob {
        text: "a red fox".into(),
        n: 2,
        options,
    });
    let drawn = told(running.submit(draw), 0).pictures;
    let second = ImageOptions { seed: 1, ..options };
    assert_eq!(
        drawn,
        [options, second].map(|options| model.draw("a red fox", &options).unwrap())
    );

    let restore = Job::Restore(RestoreJob {
        picture: picture(7),
        strength: 0.5,
        options,
    });
    let restored = told(running.submit(restore), 0).pictures;
    assert_eq!(
        restored,
        [model.restore(&picture(7), 0.5, &options).unwrap()]
    );

    let score = Job::Score(ScoreJob {
        dialogue: dialogue(vec![picture(7)], "Is there a dog?"),
        answers: vec!["yes".into(), "no".into()],
    });
    let scores = told(running.submit(score), 0).scores;
    assert_eq!(
        scores,
        model
            .score("Is there a dog?", &[picture(7)], &["yes", "no"])
            .unwrap()
    );

    let long = "dog ".repeat(5000);
    let mut events = running.submit(ask(dialogue(Vec::new(), &long), choice(4)));
    let Some(Event::Failed(error)) = events.blocking_recv() else {
        panic!("too long");
    };
    assert!(matches!(error, deem::Error::TooLong { .. }), "{error}");
    running.end();
}

#[test]
fn who_goes_away_leaves_no_trace() {
    let model = model();
    let running = Running::new(
        &model,
        Schedule {
            batch: 2,
            ..Schedule::default()
        },
    );
    for shade in 0..20 {
        drop(running.submit(ask(
            dialogue(vec![picture(shade)], "What is this?"),
            choice(100),
        )));
    }
    let asked = running.submit(ask(
        dialogue(vec![picture(99)], "Is there a dog?"),
        choice(4),
    ));
    let expected = model
        .ask("Is there a dog?", &[picture(99)], &TextOptions::longest(4))
        .unwrap();
    assert_eq!(told(asked, 1).texts, [expected]);
    let patience = Instant::now() + Duration::from_secs(60);
    while running.handle.present() > 0 {
        assert!(Instant::now() < patience, "places are not given back");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.end();
}

#[test]
fn nobody_draws_for_who_has_gone() {
    let model = model();
    let running = Running::new(&model, Schedule::default());
    let draw = |steps| {
        Job::Draw(DrawJob {
            text: "a red fox".into(),
            n: 1,
            options: ImageOptions {
                steps,
                ..ImageOptions::default()
            },
        })
    };
    let long = running.submit(draw(500));
    std::thread::sleep(Duration::from_millis(300));
    drop(long);
    assert_eq!(told(running.submit(draw(2)), 0).pictures.len(), 1);
    let metrics = running.end();
    assert!(
        metrics.contains("deem_drawn_pictures_total{model=\"tiny\"} 1\n"),
        "{metrics}"
    );
}

/// An answer in which the model wants to draw, made so by hand: it begins where a picture is due.
#[test]
fn pictures_within_answers() {
    let model = model();
    let mut begun = model.continuing("a red fox", answer_options(40)).unwrap();
    let few = ImageOptions {
        steps: 2,
        ..ImageOptions::default()
    };
    assert!(begun.read(&model, 1000) && begun.has_room(&model));
    let drawn = begun.draw(&model, &few, &mut |_, _| true).unwrap();
    assert_eq!(drawn, model.draw("a red fox", &few).unwrap());
    begun.show(&model, &drawn).unwrap();
    assert!(begun.unread() > 1);
    assert!(begun.read(&model, 1000));
    let mut said = begun.begin(&model).unwrap();
    let mut chorus = deem::Chorus::default();
    for _ in 0..40 {
        if said.end.is_some() {
            break;
        }
        said = chorus.step(&model, &mut [&mut begun]).remove(0).unwrap();
    }
    assert!(matches!(
        said.end,
        Some(End::Stop | End::Length | End::Picture)
    ));
}
