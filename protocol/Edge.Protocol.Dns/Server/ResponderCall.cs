namespace Edge.Protocol.Dns.Server;

/// <summary>Calls a responder so that a fault of it costs one answer and not the server.</summary>
internal static class ResponderCall
{
    public static int Respond(IDnsResponder responder, ReadOnlySpan<byte> query, in DnsRequest request, Span<byte> response, DnsServerCounters counters, Action<Exception>? failed)
    {
        try
        {
            return responder.Respond(query, request, response);
        }
        catch (Exception e) // whatever it is, the next query is another one; it is counted and reported
        {
            counters.Failures++;
            failed?.Invoke(e);
            if (!DnsHeader.TryRead(query, out var header) || header.IsResponse)
                return 0;
            var flags = DnsFlags.Response | DnsFlags.Copied(header.Flags) | (int)ResponseCode.ServerFailure;
            new DnsHeader(header.Id, (ushort)flags, 0, 0, 0, 0).Write(response);
            return DnsLimits.Header;
        }
    }
}
