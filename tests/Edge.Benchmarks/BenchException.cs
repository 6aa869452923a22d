namespace Edge.Benchmarks;

/// <summary>A process of the bench did not start, ended early, or did not answer, or the machine lacks what the bench needs.</summary>
internal sealed class BenchException(string message) : Exception(message);
