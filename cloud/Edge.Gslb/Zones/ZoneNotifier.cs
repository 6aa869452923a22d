using System.Net;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;
using Edge.Protocol.Dns.Client;

namespace Edge.Cloud.Gslb.Zones;

/// <summary>What came of telling one secondary.</summary>
/// <param name="Error">Empty when it acknowledged.</param>
public sealed record NotifyResult(DnsName Apex, IPEndPoint Target, string Error);

/// <summary>Tells secondaries of a zone's new serial (RFC 1996). One that does not answer is asked again a few times; then it finds out by its refresh time.</summary>
public sealed class ZoneNotifier(TimeProvider clock)
{
    private readonly DnsStubClient _client = new(new DnsStubOptions { UdpTries = 5, UdpTryMs = 5000 }, clock);

    /// <summary>Tells all targets of the zones at once.</summary>
    public Task<NotifyResult[]> NotifyAsync(IEnumerable<ZoneSource> zones, CancellationToken cancellationToken)
        => Task.WhenAll(zones.SelectMany(zone => zone.NotifyTargets.Select(target => TellAsync(zone, target, cancellationToken))));

    private async Task<NotifyResult> TellAsync(ZoneSource zone, IPEndPoint target, CancellationToken cancellationToken)
    {
        var response = new byte[DnsLimits.Message];
        try
        {
            var length = await _client.ExchangeAsync(target, Message(zone.Apex), response, cancellationToken);
            DnsHeader.TryRead(response.AsSpan(0, length), out var header);
            return new NotifyResult(zone.Apex, target, header.Rcode == ResponseCode.NoError ? "" : $"answered {header.Rcode}");
        }
        catch (DnsExchangeException e)
        {
            return new NotifyResult(zone.Apex, target, e.Message);
        }
    }

    private static byte[] Message(DnsName apex)
    {
        var buffer = new byte[DnsLimits.PlainUdp];
        var writer = new DnsWriter(buffer, buffer.Length, 0, ((ushort)Opcode.Notify << 11) | DnsFlags.Authoritative);
        writer.TryWriteQuestion(apex.Wire, RecordType.SOA, RecordClass.IN);
        return buffer[..writer.Finish()];
    }
}
