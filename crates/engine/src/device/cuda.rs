//! What an NVIDIA GPU needs at run time, looked for before Burn is asked: where something is missing, Burn
//! panics, at the latest at the first kernel.

use std::path::{Path, PathBuf};

use cudarc::driver::CudaContext;

/// A header that kernels include.
const HEADER: &str = "cuda_fp16.h";

/// What this machine has.
pub(super) struct Machine {
    /// How many GPUs the driver lists, or its refusal; nothing without a driver.
    gpus: Option<Result<usize, String>>,
    /// Whether there is NVRTC, which compiles kernels.
    compiler: bool,
    /// Where the toolkit is.
    toolkit: Option<PathBuf>,
}

impl Machine {
    /// Asks the machine.
    pub(super) fn look() -> Self {
        // SAFETY: these try to load NVIDIA's libraries under their own names, and do nothing else.
        let [driver, compiler] = unsafe {
            [
                cudarc::driver::sys::is_culib_present(),
                cudarc::nvrtc::sys::is_culib_present(),
            ]
        };
        let count = || match CudaContext::device_count() {
            Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
            Err(error) => Err(error.to_string()),
        };
        Self {
            gpus: driver.then(count),
            compiler,
            toolkit: cubecl::cuda::install::cuda_path(),
        }
    }

    /// Says all that is missing to compute on a GPU.
    pub(super) fn refuse(&self, number: usize) -> Result<(), String> {
        let missing: Vec<String> = [self.gpu(number), self.compiler(), self.headers()]
            .into_iter()
            .flatten()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(missing.join("; "))
    }

    fn gpu(&self, number: usize) -> Option<String> {
        match &self.gpus {
            None => Some(
                "looked for NVIDIA's driver (libcuda), found none: install it, and give containers access to it"
                    .into(),
            ),
            Some(Err(error)) => Some(format!(
                "looked for GPUs, and the driver said {error}: `nvidia-smi` should list one"
            )),
            Some(Ok(0)) => Some(
                "looked for GPUs, the driver lists none: see `nvidia-smi` and CUDA_VISIBLE_DEVICES".into(),
            ),
            Some(Ok(count)) if number >= *count => Some(format!(
                "looked for GPU {number}, the driver lists {count}: choose a number from 0 to {}",
                count - 1
            )),
            Some(Ok(_)) => None,
        }
    }

    fn compiler(&self) -> Option<String> {
        (!self.compiler).then(|| {
            "looked for the compiler of kernels (libnvrtc), found none: install the CUDA toolkit, or add its \
             libraries to LD_LIBRARY_PATH"
                .into()
        })
    }

    fn headers(&self) -> Option<String> {
        let folder = self.toolkit.as_deref().map(|path| path.join("include"));
        let holds = |folder: &Path| folder.join(HEADER).is_file();
        match folder {
            None => Some(
                "looked for a CUDA toolkit in $CUDA_PATH, /usr/local/cuda and /opt/cuda, found none: install one, or \
                 set CUDA_PATH to the folder whose `include` has its headers"
                    .into(),
            ),
            Some(folder) if !holds(&folder) => Some(format!(
                "looked for {}, found no such file: set CUDA_PATH to the folder whose `include` has it",
                folder.join(HEADER).display()
            )),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with two GPUs and a toolkit in a folder of its own.
    fn complete() -> (Machine, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let include = folder.path().join("include");
        std::fs::create_dir(&include).unwrap();
        std::fs::write(include.join(HEADER), "").unwrap();
        let machine = Machine {
            gpus: Some(Ok(2)),
            compiler: true,
            toolkit: Some(folder.path().to_owned()),
        };
        (machine, folder)
    }

    #[test]
    fn nothing_is_missing_on_a_complete_machine() {
        let (machine, _folder) = complete();
        assert_eq!(machine.refuse(0), Ok(()));
        assert_eq!(machine.refuse(1), Ok(()));
        let error = machine.refuse(2).unwrap_err();
        assert!(
            error.contains("GPU 2") && error.contains("from 0 to 1"),
            "{error}"
        );
    }

    #[test]
    fn a_driver_without_gpus_is_told_from_no_driver() {
        let (mut machine, _folder) = complete();
        for (gpus, said) in [
            (None, "libcuda"),
            (Some(Ok(0)), "lists none"),
            (Some(Err("code 999".to_owned())), "code 999"),
        ] {
            machine.gpus = gpus;
            let error = machine.refuse(0).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let (_, folder) = complete();
        let bare = |toolkit| Machine {
            gpus: None,
            compiler: false,
            toolkit,
        };
        for (toolkit, said) in [
            (None, "CUDA_PATH"),
            (Some(folder.path().join("empty")), "empty"),
        ] {
            let error = bare(toolkit).refuse(0).unwrap_err();
            for part in ["libcuda", "libnvrtc", said] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
