using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Client;

/// <summary>Splits what the server sends into packets. One buffer, which grows as bytes come, and never beyond the largest packet.</summary>
internal sealed class PacketReader(MqttClientOptions options)
{
    private byte[] _buffer = new byte[16 * 1024];
    private int _start;
    private int _end;
    private int _taken;

    /// <summary>The next whole packet; valid until the next call.</summary>
    public bool TryTake(out MqttFrame frame)
    {
        _start += _taken;
        _taken = 0;
        if (!MqttFrame.TryRead(_buffer.AsSpan(_start, _end - _start), options.PacketSizeMax, options.Version, out frame))
            return false;
        _taken = frame.Length;
        return true;
    }

    public ReadOnlySpan<byte> Body(in MqttFrame frame) => _buffer.AsSpan(_start + frame.BodyStart, frame.Length - frame.BodyStart);

    /// <summary>Reads more; 0 at the end.</summary>
    public async ValueTask<int> FillAsync(Stream stream, CancellationToken cancellationToken)
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _start = 0;
        }

        if (_end == _buffer.Length)
            Array.Resize(ref _buffer, _buffer.Length * 2);
        var read = await stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken);
        _end += read;
        return read;
    }
}
