"""The Jobs and the Job view, and the dialogs that tell more of a job."""
