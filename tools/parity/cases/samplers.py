"""diffusers' noise schedules and samplers."""

from importlib.util import find_spec

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler


def noise(choice):
    config = {
        "num_train_timesteps": choice.choice([100, 777, 1000]),
        "beta_schedule": choice.choice(["linear", "scaled_linear", "squaredcos_cap_v2"]),
        "prediction_type": choice.choice(["epsilon", "v_prediction", "sample"]),
    }
    if choice.random() < 0.7:
        config |= {"beta_start": 0.00085, "beta_end": 0.012}
    if choice.random() < 0.15:
        config["trained_betas"] = [0.001 + 0.03 * choice.random() for _ in range(config["num_train_timesteps"])]
    return config


def scheduler(choice):
    config = noise(choice)
    if choice.random() < 0.1:
        config["beta_schedule"] = "sigmoid"
    config["rescale_betas_zero_snr"] = choice.random() < 0.3
    schedule = choice.choice([DDPMScheduler, DDIMScheduler if config["beta_schedule"] != "sigmoid" else DDPMScheduler])(**config)
    batch = choice.randint(1, 4)
    shape = [batch] + [choice.randint(1, 6) for _ in range(choice.choice([3, 3, 1, 2, 4]))]
    inputs = {
        "sample": torch.randn(shape),
        "noise": torch.randn(shape),
        "timesteps": torch.randint(0, config["num_train_timesteps"], (batch,)),
    }

    def run(sample, noise, timesteps):
        noisy = schedule.add_noise(sample, noise, timesteps)
        return {"noisy": noisy, "velocity": schedule.get_velocity(sample, noise, timesteps)}

    return dict(schedule.config), None, inputs, run


def step(choice, schedule, steps, stochastic):
    """One step of a fresh sampler: nothing came before."""
    schedule.set_timesteps(steps)
    index = choice.randint(0, len(schedule.timesteps) - 1)
    shape = [choice.randint(1, 3), 4, choice.randint(1, 6), choice.randint(1, 6)]
    inputs = {
        "sample": torch.randn(shape),
        "model_output": torch.randn(shape),
        "step": choice.choice([torch.tensor([index]), torch.tensor(index)]),
    }
    if stochastic:
        inputs["noise"] = torch.randn(shape)

    def run(sample, model_output, step, noise=None):
        extra = {} if noise is None else {"variance_noise": noise}
        if hasattr(schedule, "set_begin_index"):
            schedule.set_begin_index(index)
        return {"prev_sample": schedule.step(model_output, schedule.timesteps[index], sample, **extra).prev_sample}

    return dict(schedule.config) | {"num_inference_steps": steps}, None, inputs, run


def thresholding(choice):
    if choice.random() < 0.75:
        return {}
    return {
        "thresholding": True,
        "dynamic_thresholding_ratio": choice.choice([0.995, 0.8]),
        "sample_max_value": choice.choice([1.0, 1.5, 3.0]),
    }


def ddim(choice):
    config = noise(choice) | thresholding(choice) | {
        "clip_sample": choice.choice([True, False]),
        "clip_sample_range": choice.choice([1.0, 0.7, 2.0]),
        "set_alpha_to_one": choice.choice([True, False]),
        "timestep_spacing": choice.choice(["leading", "trailing", "linspace"]),
    }
    if config["timestep_spacing"] == "leading":
        config["steps_offset"] = choice.choice([0, 1, 3])
    if config["prediction_type"] != "epsilon" and choice.random() < 0.3:
        config["rescale_betas_zero_snr"] = True
    return step(choice, DDIMScheduler(**config), choice.randint(1, 60), False)


def dpm_solver(choice):
    config = noise(choice) | thresholding(choice) | {
        "algorithm_type": choice.choice(["dpmsolver++", "dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"]),
        "solver_type": choice.choice(["midpoint", "heun"]),
        "solver_order": choice.choice([1, 2, 3]),
        "timestep_spacing": choice.choice(["leading", "trailing", "linspace"]),
        "lower_order_final": choice.choice([True, False]),
        "euler_at_final": choice.choice([True, False]),
        "final_sigmas_type": choice.choice(["zero", "sigma_min"]),
    }
    if not config["algorithm_type"].endswith("++"):
        config["final_sigmas_type"] = "sigma_min"
    if config["algorithm_type"] == "sde-dpmsolver":
        config["solver_order"] = choice.choice([1, 2])
    if config["timestep_spacing"] == "leading":
        config["steps_offset"] = choice.choice([0, 1])
    kinds = ["", "", "use_karras_sigmas", "use_exponential_sigmas", "use_lu_lambdas"]
    kind = choice.choice(kinds + ["use_beta_sigmas"] * (find_spec("scipy") is not None))
    if kind:
        config[kind] = True
    if choice.random() < 0.1:
        config["lambda_min_clipped"] = -5.1
    if config["prediction_type"] == "v_prediction" and choice.random() < 0.3:
        config["rescale_betas_zero_snr"] = True
    stochastic = config["algorithm_type"].startswith("sde")
    return step(choice, DPMSolverMultistepScheduler(**config), choice.randint(1, 60), stochastic)
