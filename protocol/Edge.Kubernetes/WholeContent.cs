namespace Edge.Kubernetes;

/// <summary>What a server in the same process answers once it has the whole body: its bytes, which the client then need not copy.</summary>
/// <param name="bytes">Not to be changed by anyone afterwards.</param>
public sealed class WholeContent(byte[] bytes) : ByteArrayContent(bytes)
{
    public ReadOnlyMemory<byte> Bytes { get; } = bytes;
}
