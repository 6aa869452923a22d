namespace Edge.Protocol.Messages;

/// <summary>What two Edge peers do beyond KubeEdge's wire, agreed on connect by a header of the WebSocket handshake. A peer that does not send it, or does not
/// echo it, is spoken to as KubeEdge speaks.</summary>
/// <remarks>Version 1: messages travel in <see cref="CompactCodec"/> frames, several in one; keepalives are answered; the edge tells its inventory as a digest
/// (<see cref="Sync.InventoryMessages"/>); every message of the edge's queue is answered, events and user data too, and carries the queue's version in
/// <see cref="Message.ResourceVersion"/>; a lease is renewed by a patch of its <c>renewTime</c>.</remarks>
public static class EdgeWire
{
    /// <summary>Request: the versions the edge speaks, comma-separated. Response: the one that is used.</summary>
    public const string Header = "Edge-Wire";

    /// <summary>The version spoken here.</summary>
    public const string Version = "1";

    /// <summary>True when <paramref name="header"/> (request or response) offers or accepts <see cref="Version"/>.</summary>
    public static bool Includes(string? header)
    {
        if (header is null || header.Length > 100)
            return false;
        foreach (var range in header.AsSpan().Split(','))
        {
            if (header.AsSpan()[range].Trim().SequenceEqual(Version))
                return true;
        }

        return false;
    }
}
