"""What is shown of oO where others look: alert rules and a dashboard for Prometheus and Grafana."""
