namespace Edge.Devices.Push;

/// <summary>One value that was collected.</summary>
/// <param name="Type">The model's type in lower case.</param>
/// <param name="Value">Text, invariant culture.</param>
/// <param name="TimestampMs">When it was read, milliseconds since 1970.</param>
public readonly record struct Sample(string Namespace, string Device, string Property, string Type, string Value, long TimestampMs);

/// <summary>Where samples go: one endpoint with its settings.</summary>
public interface IPushTarget : IAsyncDisposable
{
    /// <summary>For logs and metrics, e.g. <c>influxdb2 http://10.0.0.9:8086 plant</c>; no secrets.</summary>
    string Name { get; }

    /// <summary>Sends a batch, at most <see cref="PushQueue.BatchMax"/> samples, oldest first.</summary>
    /// <exception cref="PushException">It was not taken.</exception>
    Task PushAsync(IReadOnlyList<Sample> batch, CancellationToken cancellationToken);
}

/// <summary>A batch was not taken.</summary>
/// <param name="isFinal">True when sending it again cannot help: the endpoint refuses what is in it.</param>
/// <param name="refused">How many samples it refused for good, where it took the others; null when it took none.</param>
public sealed class PushException(string message, bool isFinal, Exception? inner = null, int? refused = null) : Exception(message, inner)
{
    public bool IsFinal { get; } = isFinal;

    public int? Refused { get; } = refused;
}
