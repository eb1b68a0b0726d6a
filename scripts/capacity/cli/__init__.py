"""What people type: `capacity <verb>`."""
