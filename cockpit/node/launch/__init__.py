"""The instrumented launcher process: torchrun's or ft_launcher's own main(), journalled."""
