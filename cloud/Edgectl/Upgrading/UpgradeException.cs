namespace Edge.Ctl.Upgrading;

/// <summary>A step of an upgrade, a backup or a roll-back cannot be done; the message says why and what to do.</summary>
internal sealed class UpgradeException(string message) : Exception(message);
