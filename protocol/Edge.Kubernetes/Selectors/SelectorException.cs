namespace Edge.Kubernetes.Selectors;

/// <summary>A selector text or object that cannot be read; the message says what and where.</summary>
public sealed class SelectorException(string message) : Exception(message);
