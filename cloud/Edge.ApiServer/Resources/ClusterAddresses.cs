using System.Buffers.Binary;
using System.Net;
using System.Text.Json.Nodes;
using Edge.ApiServer.Storage;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>Gives Services their cluster addresses from kubeadm's default range 10.96.0.0/12, and fd00:10:96::/112 for IPv6.</summary>
/// <remarks>Each address belongs to a Service's uid from <see cref="Assign"/> on, and until the Service is deleted or <see cref="Release"/>. Safe for concurrent calls.
/// Nothing here routes these addresses: that is kube-proxy's work, and edges without one resolve to endpoints instead (docs/edge-dns.md).</remarks>
internal sealed class ClusterAddresses
{
    private const uint First = (10u << 24) | (96u << 16);
    private const int Bits = 20;
    private const int AttemptsMax = 1000;
    private static readonly byte[] s_prefix6 = [0xfd, 0x00, 0x00, 0x10, 0x00, 0x96, 0, 0, 0, 0, 0, 0, 0, 0];

    private readonly Random _random; // locked
    private readonly Dictionary<IPAddress, string> _owners = []; // locked

    /// <param name="random">Chooses; not shared.</param>
    /// <param name="services">What is stored already.</param>
    public ClusterAddresses(Random random, IEnumerable<StoredObject> services)
    {
        _random = random;
        foreach (var service in services)
            Own(service);
    }

    /// <summary>Told of every change of the store.</summary>
    public void Apply(StoredEvent change)
    {
        if (change.Object.Resource != ResourceId.Of(ResourceKind.Service))
            return;
        if (change.Type == WatchEventType.Deleted)
            Release(change.Object.Uid);
        else
            Own(change.Object);
    }

    /// <summary>Frees what the Service has.</summary>
    public void Release(string uid)
    {
        lock (_owners)
        {
            foreach (var address in _owners.Where(pair => pair.Value == uid).Select(pair => pair.Key).ToList())
                _owners.Remove(address);
        }
    }

    /// <summary>Writes the missing addresses into a Service that needs some, and takes those that it names itself. Null, or what cannot be.</summary>
    public FieldError? Assign(JsonObject service)
    {
        if (service["spec"] is not JsonObject spec || spec.Text("type") == "ExternalName" || spec.Text("clusterIP") == "None")
            return null;
        var families = spec.Texts("ipFamilies").ToList();
        var addresses = spec.Texts("clusterIPs").ToList();
        lock (_owners)
        {
            for (var i = 0; i < Math.Max(1, families.Count); i++)
            {
                if (i < addresses.Count)
                {
                    if (!IPAddress.TryParse(addresses[i], out var named))
                        return Errors.Invalid($"spec.clusterIPs[{i}]", addresses[i], "must be a valid IP address");
                    if (_owners.TryGetValue(named, out var owner) && owner != service.Uid())
                        return Errors.Invalid($"spec.clusterIPs[{i}]", addresses[i], "failed to allocate IP: provided IP is already allocated");
                    _owners[named] = service.Uid();
                    continue;
                }

                if (Free(families.ElementAtOrDefault(i) == "IPv6") is not { } free)
                    return Errors.Invalid("spec.clusterIPs", "", "failed to allocate IP: range is full");
                _owners[free] = service.Uid();
                addresses.Add(free.ToString());
            }
        }

        spec["clusterIP"] = addresses[0];
        spec["clusterIPs"] = new JsonArray([.. addresses.Select(address => (JsonNode)address)]);
        return null;
    }

    private void Own(StoredObject service)
    {
        lock (_owners)
        {
            foreach (var text in service.Parse().Texts("spec", "clusterIPs"))
            {
                if (IPAddress.TryParse(text, out var address))
                    _owners[address] = service.Uid;
            }
        }
    }

    private IPAddress? Free(bool ipv6)
    {
        Span<byte> bytes = stackalloc byte[16];
        for (var attempt = 0; attempt < AttemptsMax; attempt++)
        {
            // Neither the network's own address, nor the first one (the API's in other clusters), nor the last.
            var offset = (uint)_random.Next(2, ipv6 ? ushort.MaxValue : (1 << Bits) - 1);
            IPAddress address;
            if (ipv6)
            {
                s_prefix6.CopyTo(bytes);
                BinaryPrimitives.WriteUInt16BigEndian(bytes[14..], (ushort)offset);
                address = new IPAddress(bytes);
            }
            else
            {
                BinaryPrimitives.WriteUInt32BigEndian(bytes, First + offset);
                address = new IPAddress(bytes[..4]);
            }

            if (!_owners.ContainsKey(address))
                return address;
        }

        return null;
    }
}
