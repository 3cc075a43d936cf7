//! Fetches all emoji styles: `fetch_emoji OUTPUT PACKAGES`.

use deem_data::fetch::{FetchOptions, fetch_emoji};
use deem_data::world::Design;
use deem_data::world::corpus::{Corpus, Role, Split};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(output), Some(packages)) = (arguments.next(), arguments.next()) else {
        return Err("usage: fetch_emoji OUTPUT PACKAGES".into());
    };
    let options = FetchOptions {
        output: output.into(),
        packages: packages.into(),
        npm: "npm".into(),
    };
    let report = fetch_emoji(&options, &mut |step| eprintln!("{step}"))?;
    println!("{report:?}");
    let corpus = Corpus::open(&options.output)?;
    let split = Split::new(&corpus, &Design::default());
    let train = split.drawings(Role::Train, |_| true).len();
    println!("{} drawings, {train} for training", corpus.drawings().len());
    Ok(())
}
