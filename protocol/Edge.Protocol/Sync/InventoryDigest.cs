using System.Buffers.Binary;
using Edge.Protocol.Messages;

namespace Edge.Protocol.Sync;

/// <summary>What an edge has, in a few bytes: its objects fall into buckets by path, and each bucket has one hash. Both sides compute it the same way, so that
/// only buckets that differ need to be told in full.</summary>
/// <remarks>Only types that cloud and edge keep in step count (<see cref="Covers"/>). Not safe for concurrent calls.</remarks>
public sealed class InventoryDigest
{
    /// <summary>Most buckets, so that a digest has at most 2 KiB.</summary>
    public const int BucketsMax = 256;

    // Fewer an average bucket: more bytes on each connect. More: more rows to tell when one object differs.
    private const int ObjectsPerBucket = 16;

    private readonly ulong[] _buckets;

    /// <param name="buckets">A power of two, 1 to <see cref="BucketsMax"/>.</param>
    public InventoryDigest(int buckets)
    {
        if (!IsBucketCount(buckets))
            throw new ArgumentOutOfRangeException(nameof(buckets), buckets, $"must be a power of two from 1 to {BucketsMax}");
        _buckets = new ulong[buckets];
    }

    public int Buckets => _buckets.Length;

    /// <summary>How many buckets an inventory of <paramref name="objects"/> objects is told in.</summary>
    public static int BucketsFor(int objects)
    {
        var buckets = 1;
        while (buckets < BucketsMax && buckets * ObjectsPerBucket < objects)
            buckets *= 2;
        return buckets;
    }

    public static bool IsBucketCount(int buckets) => buckets is >= 1 and <= BucketsMax && (buckets & (buckets - 1)) == 0;

    /// <summary>True for the resource types that are kept in step at an edge.</summary>
    public static bool Covers(string type)
        => type is ResourceTypes.Pod or ResourceTypes.ConfigMap or ResourceTypes.Secret or ResourceTypes.Node or ResourceTypes.Device or ResourceTypes.DeviceModel
            or ResourceTypes.Service or ResourceTypes.EndpointSlice or ResourceTypes.GlobalService or ResourceTypes.Zone or ResourceTypes.RuntimeClass;

    /// <summary>The bucket of an object.</summary>
    /// <param name="key"><c>&lt;namespace&gt;/&lt;type&gt;/&lt;name&gt;</c>.</param>
    /// <param name="buckets">As in the constructor.</param>
    public static int BucketOf(string key, int buckets) => (int)(StableHash.Of(key, 'b') & (ulong)(buckets - 1));

    /// <summary>Adds one object; in any order, each once.</summary>
    public void Add(string key, string uid, ulong fingerprint)
        => _buckets[BucketOf(key, _buckets.Length)] += StableHash.Mix(StableHash.Of(key, StableHash.Of(uid, 'u')) + StableHash.Mix(fingerprint));

    /// <summary>The buckets, eight bytes each in network order.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[_buckets.Length * 8];
        for (var i = 0; i < _buckets.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * 8), _buckets[i]);
        return bytes;
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote; null when the length is not that of a digest.</summary>
    public static InventoryDigest? TryFrom(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length % 8 != 0 || !IsBucketCount(bytes.Length / 8))
            return null;
        var digest = new InventoryDigest(bytes.Length / 8);
        for (var i = 0; i < digest._buckets.Length; i++)
            digest._buckets[i] = BinaryPrimitives.ReadUInt64BigEndian(bytes[(i * 8)..]);
        return digest;
    }

    /// <summary>The buckets in which <paramref name="other"/> differs, ascending.</summary>
    /// <exception cref="ArgumentException">The other has another number of buckets.</exception>
    public List<int> Differences(InventoryDigest other)
    {
        if (other._buckets.Length != _buckets.Length)
            throw new ArgumentException($"has {other._buckets.Length} buckets, must have {_buckets.Length}", nameof(other));
        var different = new List<int>();
        for (var i = 0; i < _buckets.Length; i++)
        {
            if (_buckets[i] != other._buckets[i])
                different.Add(i);
        }

        return different;
    }
}
