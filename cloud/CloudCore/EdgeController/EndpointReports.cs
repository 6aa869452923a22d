using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.EdgeController;

/// <summary>Hands what EdgeCores find out about endpoints of GlobalServices to the GSLB module.</summary>
/// <param name="isExpected">Whether this cloudcore has that module; else reports are refused for good.</param>
internal sealed class EndpointReports(bool isExpected)
{
    private volatile Func<string, string, string?, CancellationToken, ValueTask>? _taker;
    private volatile Func<string, string, IReadOnlyDictionary<string, double>, CancellationToken, ValueTask>? _roundTripTaker;

    /// <summary>Null while the module starts: edges then send again.</summary>
    public Func<string, string, string?, CancellationToken, ValueTask>? Taker
    {
        get => _taker;
        set => _taker = value;
    }

    /// <summary>Gets node, service and the round trips from there by endpoint; null while the module starts.</summary>
    public Func<string, string, IReadOnlyDictionary<string, double>, CancellationToken, ValueTask>? RoundTripTaker
    {
        get => _roundTripTaker;
        set => _roundTripTaker = value;
    }

    /// <exception cref="KubeException">It is malformed, not wanted here, or comes too early.</exception>
    public async ValueTask TakeRoundTripsAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        if (!isExpected)
            throw Refusals.NotServed("modules.gslb of this cloudcore is off; nobody takes round trips");
        if (RoundTrips.Read(MessageCodec.Unwrap(request.Content), out var error) is not { } report)
            throw Refusals.BadRequest($"the content of {path} {error}");
        if (report.Resource != path.ToString())
            throw Refusals.BadRequest($"{path} reports on {report.Service}, whose path is {report.Resource}");
        if (_roundTripTaker is not { } taker)
            throw new KubeException(503, "ServiceUnavailable", "the GSLB module of cloudcore is starting");
        await taker(node, report.Service, report.Milliseconds, cancellationToken);
    }

    /// <exception cref="KubeException">It is malformed, not wanted here, or comes too early.</exception>
    public async ValueTask TakeAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        if (!isExpected)
            throw Refusals.NotServed("modules.gslb of this cloudcore is off; nobody takes the health of endpoints");
        if (EndpointHealth.Read(MessageCodec.Unwrap(request.Content), out var error) is not { } report)
            throw Refusals.BadRequest($"the content of {path} {error}");
        // The queue orders by path: a report under another endpoint's path would be dropped as an older one of that, or push it out.
        if (report.Resource != path.ToString())
            throw Refusals.BadRequest($"{path} reports on {report.Endpoint}, whose path is {report.Resource}");
        if (_taker is not { } taker)
            throw new KubeException(503, "ServiceUnavailable", "the GSLB module of cloudcore is starting");
        await taker(node, report.Endpoint, report.IsHealthy ? null : report.Reason.Length > 0 ? report.Reason : "the node says that it is ill", cancellationToken);
    }
}
