using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeDns;

/// <summary>Ids 3500-3599.</summary>
internal static partial class EdgeDnsLog
{
    [LoggerMessage(3500, LogLevel.Information, "EdgeDns listens on {Address}, knows {Services} services of {Domain}, and asks {Upstreams} for the rest")]
    public static partial void Listening(ILogger logger, string address, int services, string domain, string upstreams);

    [LoggerMessage(3501, LogLevel.Warning, "EdgeDns cannot listen on {Address}: {Reason}; it goes on with its other addresses (modules.edgeDns.listen)")]
    public static partial void NotListening(ILogger logger, string address, string reason);

    [LoggerMessage(3502, LogLevel.Information, "the address {Address} is added to the interface {Interface}")]
    public static partial void AddressAdded(ILogger logger, string address, string @interface);

    [LoggerMessage(3503, LogLevel.Warning, "the address {Address} cannot be added to the interface {Interface}: {Reason}")]
    public static partial void AddressNotAdded(ILogger logger, string address, string @interface, string reason);

    [LoggerMessage(3504, LogLevel.Warning, "the upstream {Upstream} does not answer: {Reason}; others are asked first for a while")]
    public static partial void UpstreamFailed(ILogger logger, string upstream, string reason);

    [LoggerMessage(3505, LogLevel.Information, "checked from here, endpoint {Endpoint} is {Status} {Reason}")]
    public static partial void HealthFound(ILogger logger, string endpoint, string status, string reason);

    [LoggerMessage(3507, LogLevel.Error, "answering a query met a defect")]
    public static partial void QueryBroke(ILogger logger, Exception exception);

    [LoggerMessage(3508, LogLevel.Error, "the round trips to the endpoints of {Service} cannot be kept for the cloud: {Reason}; trying again")]
    public static partial void RoundTripsNotKept(ILogger logger, string service, string reason);

    [LoggerMessage(3509, LogLevel.Warning, "zones are not answered here as the cloud has them: {Reasons}")]
    public static partial void ZonesLeftOut(ILogger logger, string reasons);

    [LoggerMessage(3506, LogLevel.Error, "what was found out about endpoint {Endpoint} cannot be kept for the cloud: {Reason}; trying again")]
    public static partial void HealthNotKept(ILogger logger, string endpoint, string reason);
}
