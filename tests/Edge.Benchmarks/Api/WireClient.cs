using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Api;

/// <summary>One keep-alive HTTP/1.1 connection, blocking and with as little of its own as can be: client and server share the machine.</summary>
internal sealed class WireClient : IDisposable
{
    private readonly TcpClient _tcp;
    private readonly Stream _stream;
    private readonly string _head;
    private readonly byte[] _buffer = new byte[256 * 1024];
    private int _start;
    private int _end;

    private WireClient(TcpClient tcp, Stream stream, string head) => (_tcp, _stream, _head) = (tcp, stream, head);

    /// <summary>To a Kubernetes API, as its administrator.</summary>
    public static WireClient Connect(KubeClientOptions options)
    {
        var tcp = new TcpClient { NoDelay = true };
        tcp.Connect(options.Server.Host, options.Server.Port);
        var tls = new SslStream(tcp.GetStream());
        using var authority = X509Certificate2.CreateFromPem(options.CertificateAuthorityPem);
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.Add(authority);
        tls.AuthenticateAsClient(new SslClientAuthenticationOptions
        {
            TargetHost = options.Server.Host,
            CertificateChainPolicy = policy,
            ClientCertificates = options.ClientCertificate is { } own ? [own] : [],
        });
        return new WireClient(tcp, tls, $"Host: {options.Server.Authority}\r\n{(options.Token is { } token ? $"Authorization: Bearer {token}\r\n" : "")}");
    }

    /// <summary>In the clear, to etcd's JSON gateway.</summary>
    public static WireClient Connect(int port)
    {
        var tcp = new TcpClient { NoDelay = true };
        tcp.Connect("127.0.0.1", port);
        return new WireClient(tcp, tcp.GetStream(), $"Host: 127.0.0.1:{port}\r\n");
    }

    /// <summary>Sends a request with a JSON body, reads the whole answer; returns the bytes of its body.</summary>
    /// <exception cref="BenchException">The answer is not a success.</exception>
    public long Post(string path, byte[] body)
    {
        var head = Encoding.ASCII.GetBytes($"POST {path} HTTP/1.1\r\n{_head}Content-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n");
        var request = new byte[head.Length + body.Length];
        head.CopyTo(request, 0);
        body.CopyTo(request, head.Length);
        _stream.Write(request);
        return Answer(path);
    }

    /// <summary>As <see cref="Post"/>, without a body.</summary>
    public long Get(string path)
    {
        _stream.Write(Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\n{_head}Accept: application/json\r\n\r\n"));
        return Answer(path);
    }

    /// <summary>Begins a watch, reads the answer's head, and gives the stream of what follows (chunked).</summary>
    public Stream Watch(string path)
    {
        _stream.Write(Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\n{_head}Accept: application/json\r\n\r\n"));
        if (!Line().Contains(" 200 ", StringComparison.Ordinal))
            throw new BenchException($"{path}: refused");
        while (Line().Length > 0)
        {
        }

        return _stream;
    }

    public void Dispose()
    {
        _stream.Dispose();
        _tcp.Dispose();
    }

    private long Answer(string path)
    {
        var status = Line();
        var (length, chunked) = (0L, false);
        for (var line = Line(); line.Length > 0; line = Line())
        {
            if (line.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase))
                length = long.Parse(line.AsSpan(15), CultureInfo.InvariantCulture);
            chunked |= line.StartsWith("Transfer-Encoding: chunked", StringComparison.OrdinalIgnoreCase);
        }

        if (!chunked)
        {
            Skip(length);
        }
        else
        {
            for (var size = Chunk(); size > 0; size = Chunk())
            {
                Skip(size + 2);
                length += size;
            }

            Line();
        }

        return status.Contains(" 20", StringComparison.Ordinal) ? length : throw new BenchException($"{path}: {status}");
    }

    private long Chunk() => long.Parse(Line().Split(';')[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private string Line()
    {
        while (true)
        {
            var at = _buffer.AsSpan(_start, _end - _start).IndexOf("\r\n"u8);
            if (at >= 0)
            {
                var line = Encoding.ASCII.GetString(_buffer, _start, at);
                _start += at + 2;
                return line;
            }

            Fill();
        }
    }

    private void Skip(long count)
    {
        while (count > 0)
        {
            if (_start == _end)
                Fill();
            var taken = (int)Math.Min(count, _end - _start);
            _start += taken;
            count -= taken;
        }
    }

    private void Fill()
    {
        if (_start == _end)
            (_start, _end) = (0, 0);
        else if (_end == _buffer.Length)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }

        var read = _stream.Read(_buffer, _end, _buffer.Length - _end);
        if (read == 0)
            throw new BenchException("the server closed the connection");
        _end += read;
    }
}
