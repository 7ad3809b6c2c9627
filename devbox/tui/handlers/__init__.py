"""What each action does: functions of the dashboard, which the registry in `actions` names and
loads. The dashboard shows the errors of those that await."""
